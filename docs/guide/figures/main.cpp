// guide_figures DIR [EVAL.json]: draws the pictures of docs/guide into DIR; early_exit.svg only where the
// answer of `offramp eval --log json` is given.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include "figures.h"

namespace {

void write(const std::filesystem::path& path, const std::string& svg) {
  std::ofstream file(path, std::ios::binary);
  file << svg;
  if (!file.flush()) throw std::runtime_error(path.string() + ": cannot be written");
  std::printf("%s: %zu bytes\n", path.c_str(), svg.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fputs("usage: guide_figures DIR [EVAL.json]\n", stderr);
    return 2;
  }
  try {
    const std::filesystem::path folder = argv[1];
    std::filesystem::create_directories(folder);
    write(folder / "batch_norm.svg", offramp::guide::batch_norm_figure());
    write(folder / "tape.svg", offramp::guide::tape_figure());
    write(folder / "winograd.svg", offramp::guide::winograd_figure());
    if (argc == 3) write(folder / "early_exit.svg", offramp::guide::early_exit_figure(argv[2]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "guide_figures: %s\n", error.what());
    return 1;
  }
  return 0;
}
