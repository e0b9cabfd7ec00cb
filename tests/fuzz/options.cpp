// A --config file: every type of option, and what was read written and read again.
#include "tools/frame/options.h"

#include "tests/fuzz/target.h"
#include "tests/support/temp_folder.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

using namespace offramp;

namespace {

struct Settings {
  bool flag = false;
  int number = 3;
  std::uint64_t seed = 1;
  double rate = 0.1;
  std::string name = "a";
  std::filesystem::path file;
  std::vector<int> ints;
  std::vector<double> reals;
  std::vector<std::string> words;
  std::optional<double> maybe;
};

void declare(tools::Options& o, Settings& s) {
  o.add("flag", s.flag, "a flag");
  o.add("net.number", s.number, "a number").range(0, 1e6);
  o.add("net.seed", s.seed, "a seed");
  o.add("train.rate", s.rate, "a rate");
  o.add("train.name", s.name, "a name");
  o.add("train.file", s.file, "a file");
  o.add("list.ints", s.ints, "ints");
  o.add("list.reals", s.reals, "reals");
  o.add("list.words", s.words, "words");
  o.add("maybe", s.maybe, "maybe");
}

}  // namespace

OFFRAMP_FUZZ_TARGET(options) {
  static const test::TempFolder folder;
  const std::filesystem::path path = folder / "config.toml";
  test::write_text(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  fuzz::take_or_refuse([&] {
    Settings first, second;
    tools::Options read, again;
    declare(read, first);
    declare(again, second);
    read.apply_toml_file("train", path);
    const std::string text = read.resolved_toml("train");
    test::write_text(path, text);
    again.apply_toml_file("train", path);
    if (again.resolved_toml("train") != text)
      throw std::logic_error("options: what was written reads as something else");
  });
}
