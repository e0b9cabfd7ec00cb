#include "tools/frame/table.h"

#include "base/errors.h"
#include "tests/support/temp_folder.h"

#include <gtest/gtest.h>

#include <limits>

namespace offramp::tools {
namespace {

TEST(Table, NumbersAlignRightAndWordsLeft) {
  Table table({"exit", "accuracy", "rule"});
  table.row({"1", "71.25%", "max"}).row({"10", "9.5%", "entropy"}).row({"last", "-", ""});
  EXPECT_EQ(table.text(),
            "exit  accuracy  rule\n"
            "----  --------  -------\n"
            "1       71.25%  max\n"
            "10        9.5%  entropy\n"
            "last         -\n");
}

TEST(Table, AnEmptyTableIsItsHeader) { EXPECT_EQ(Table({"a", "bc"}).text(), "a  bc\n-  --\n"); }

TEST(Table, CsvQuotesWhatNeedsIt) {
  Table table({"name", "n"});
  table.row({"a,b", "1"}).row({"say \"x\"", "2"}).row({"two\nlines", "3"});
  EXPECT_EQ(table.csv(), "name,n\n\"a,b\",1\n\"say \"\"x\"\"\",2\n\"two\nlines\",3\n");
  const test::TempFolder folder;
  table.write_csv(folder / "t.csv");
  EXPECT_EQ(test::read_text(folder / "t.csv"), table.csv());
}

TEST(Table, ARowOfAnotherWidthIsRefused) {
  try {
    Table({"a", "b"}).row({"1"});
    FAIL();
  } catch (const ValueError& error) {
    EXPECT_STREQ(error.what(), "table: 2 cells wanted, got 1");
  }
}

TEST(Table, ThousandsAreGrouped) {
  EXPECT_EQ(with_thousands(0), "0");
  EXPECT_EQ(with_thousands(999), "999");
  EXPECT_EQ(with_thousands(1000), "1,000");
  EXPECT_EQ(with_thousands(-999), "-999");
  EXPECT_EQ(with_thousands(-1234567), "-1,234,567");
  EXPECT_EQ(with_thousands(std::numeric_limits<std::int64_t>::min()), "-9,223,372,036,854,775,808");
}

}  // namespace
}  // namespace offramp::tools
