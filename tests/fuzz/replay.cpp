// fuzz_replay CORPUS: every file under CORPUS through every target, in any build. CORPUS/TARGET holds the seeds of a target
// and what once broke it. A reader that crashes ends the program; one that throws something else than our errors is named.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/target.h"

namespace fs = std::filesystem;

namespace {

std::vector<std::uint8_t> bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  return {text.begin(), text.end()};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_replay CORPUS\n");
    return 2;
  }
  const fs::path corpus = argv[1];
  int faults = 0;
  for (const auto& target : offramp::fuzz::targets())
    if (!fs::is_directory(corpus / target.name) || fs::is_empty(corpus / target.name)) {
      std::fprintf(stderr, "%s: expected seeds in %s\n", target.name, (corpus / target.name).c_str());
      ++faults;
    }
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(corpus))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    const std::vector<std::uint8_t> bytes = bytes_of(file);
    for (const auto& target : offramp::fuzz::targets()) {
      try {
        target.run(bytes);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s: %s\n", target.name, file.c_str(), error.what());
        ++faults;
      }
    }
  }
  std::printf("%zu files, %zu targets, %d faults\n", files.size(), offramp::fuzz::targets().size(), faults);
  return faults == 0 && !files.empty() ? 0 : 1;
}
