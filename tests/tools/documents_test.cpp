// docs/reference/verbs.md against `offramp --help`.
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>

#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace {

TEST(Documents, TheTableOfVerbsHasEveryVerbOnce) {
  const auto help = offramp::test::run_offramp_line("--help");
  ASSERT_EQ(help.code, 0);
  std::set<std::string> verbs;  // lines `  NAME   SUMMARY` up to the options that all have
  std::istringstream lines(help.out.substr(0, help.out.find("Every verb takes")));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("  ")) verbs.insert(line.substr(2, line.find("  ", 2) - 2));
  }
  ASSERT_GT(verbs.size(), 20u);
  std::set<std::string> documented;  // rows "| `NAME` | .. | .. |" of the first table
  const std::string page = offramp::test::read_text(OFFRAMP_SOURCE_DIR "/docs/reference/verbs.md");
  std::istringstream rows(page.substr(0, page.find("\n## ")));
  for (std::string row; std::getline(rows, row);) {
    if (!row.starts_with("| `")) continue;
    const std::string name = row.substr(3, row.find('`', 3) - 3);
    EXPECT_TRUE(documented.insert(name).second) << name << " stands there twice";
  }
  EXPECT_EQ(documented, verbs);
}

}  // namespace
