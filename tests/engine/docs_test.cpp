// The op table of docs/reference/ops.md against the table that the generic tests iterate over, and the code
// that the documents quote against the files that they name.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/engine/op_table.h"

namespace offramp::test {
namespace {

// Rows `| `name` | types | gradients of |`: name -> (types, gradients).
std::map<std::string, std::pair<std::string, std::string>> documented_ops() {
  std::ifstream file(OFFRAMP_SOURCE_DIR "/docs/reference/ops.md");
  std::map<std::string, std::pair<std::string, std::string>> ops;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("| `", 0) != 0) continue;
    std::istringstream cells(line);
    std::string skip, name, types, gradients;
    std::getline(cells, skip, '|'), std::getline(cells, name, '|'), std::getline(cells, types, '|');
    std::getline(cells, gradients, '|');
    ops[name.substr(2, name.size() - 4)] = {types, gradients};
  }
  return ops;
}

// The documented op that a test case exercises: the longest name that begins the case's name.
std::string op_of(const std::string& test_case,
                  const std::map<std::string, std::pair<std::string, std::string>>& ops) {
  if (test_case.rfind("multi_exit", 0) == 0) return "multi_exit_loss";
  if (test_case == "soft_cross_entropy" || test_case.rfind("kl_", 0) == 0) return "target_loss";
  std::string best;
  for (const auto& [name, cells] : ops) {
    if (test_case.rfind(name, 0) == 0 && name.size() > best.size()) best = name;
  }
  return best;
}

TEST(OpTable, TheDocumentAndTheTestsListTheSameOps) {
  const auto ops = documented_ops();
  ASSERT_FALSE(ops.empty());
  std::set<std::string> tested{"convert"};  // its gradient is not smooth: tests/engine/recording_test.cpp
  for (const OpCase& test_case : op_table()) {
    const std::string name = op_of(test_case.name, ops);
    ASSERT_TRUE(ops.contains(name)) << test_case.name << " is missing in docs/reference/ops.md";
    tested.insert(name);
    const bool documented_bf16 = ops.at(name).first.find("bf16") != std::string::npos;
    EXPECT_TRUE(documented_bf16 || !test_case.bf16) << name << " takes bf16";
  }
  for (const auto& [name, cells] : ops) {
    if (cells.second.find("not recorded") != std::string::npos) continue;
    EXPECT_TRUE(tested.contains(name)) << name << " is documented but no line of the op table tests it";
  }
}

std::string text_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// A block ```cpp whose first line is `// FILE` is a piece of that file, letter for letter.
TEST(Documents, QuoteCodeAsItStands) {
  const std::filesystem::path root = OFFRAMP_SOURCE_DIR;
  const std::string opening = "```cpp\n// ";
  std::vector<std::filesystem::path> pages{root / "README.md"};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root / "docs")) {
    if (entry.path().extension() == ".md") pages.push_back(entry.path());
  }
  int quotes = 0;
  for (const auto& path : pages) {
    const std::string page = text_of(path);
    for (auto at = page.find(opening); at != std::string::npos; at = page.find(opening, at + 1)) {
      const auto name = at + opening.size(), code = page.find('\n', name) + 1;
      const std::string file = page.substr(name, code - 1 - name);
      if (!std::filesystem::exists(root / file)) {
        ADD_FAILURE() << path << " quotes " << file << ", which does not exist";
        continue;
      }
      const std::string quoted = page.substr(code, page.find("```", code) - code);
      EXPECT_NE(text_of(root / file).find(quoted), std::string::npos)
          << path << " quotes of " << file << " what is not there:\n"
          << quoted;
      ++quotes;
    }
  }
  EXPECT_GE(quotes, 5);
}

}  // namespace
}  // namespace offramp::test
