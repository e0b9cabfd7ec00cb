#include "base/number_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/errors.h"

namespace offramp {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

NumberTable table(const std::string& text) { return {text, "t.csv"}; }

template <class F>
std::string table_error(F&& f) {
  try {
    f();
  } catch (const FileError& error) {
    return error.what();
  }
  return "";
}

TEST(NumberTable, ReadsColumnsByName) {
  const NumberTable t = table("a, b ,\"c\"\n1,2.5,-3\n+4,1e3,\"6\"\n");
  EXPECT_EQ(t.rows(), 2u);
  EXPECT_EQ(t.header(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(t.numbers("a"), (std::vector<double>{1, 4}));
  EXPECT_EQ(t.numbers("b"), (std::vector<double>{2.5, 1000}));
  EXPECT_EQ(t.numbers("c"), (std::vector<double>{-3, 6}));
  EXPECT_TRUE(std::isnan(table("a\nnan\n").numbers("a")[0]));
}

// What spreadsheets, pandas and editors add.
TEST(NumberTable, ByteOrderMarkCarriageReturnsAndBlankLinesAtTheEndAreNoData) {
  for (const char* text :
       {"\xEF\xBB\xBFindex,t1\r\n0,7\r\n1,8\r\n\r\n", "index,t1\n0,7\n1,8\n\n  \n", "index,t1\n0,7\n1,8"}) {
    const NumberTable t = table(text);
    EXPECT_EQ(t.rows(), 2u) << text;
    EXPECT_EQ(t.numbers("index"), (std::vector<double>{0, 1})) << text;
    EXPECT_EQ(t.numbers("t1"), (std::vector<double>{7, 8})) << text;
  }
  EXPECT_EQ(table_error([] { table("a,b\n1,2\n\n3,4\n"); }),
            "t.csv: line 3: expected 2 fields as in the header, found 1");
}

TEST(NumberTable, OnlyTheColumnsThatAreUsedMustBeNumbers) {
  const NumberTable t = table("name,score,note\ncat,1,\"sleeping, grey\"\ndog,2,\"he said \"\"no\"\"\"\n");
  EXPECT_EQ(t.numbers("score"), (std::vector<double>{1, 2}));
  EXPECT_EQ(table_error([&] { t.numbers("name"); }),
            "t.csv: line 2: expected a number in column 'name', found 'cat'");
}

TEST(NumberTable, ADoubledQuoteInsideOfQuotesIsOne) {
  const NumberTable t = table("\"a \"\"b\"\"\",\"c,d\"\n\"x\"\"y\",\"\"\n q\"q , \"\"\"\" \n");
  EXPECT_EQ(t.header(), (std::vector<std::string>{"a \"b\"", "c,d"}));
  EXPECT_EQ(t.words("a \"b\""), (std::vector<std::string>{"x\"y", "q\"q"}));
  EXPECT_EQ(t.words("c,d"), (std::vector<std::string>{"", "\""}));
}

TEST(NumberTable, WholeNumbersAreExactAndMayHaveADecimalPoint) {
  const NumberTable t = table("n,x\n9007199254740993,1.5\n151907.0,2\n1e9,3\n");
  EXPECT_EQ(t.whole_numbers(0, "a count", 0, kMost),
            (std::vector<std::int64_t>{9007199254740993, 151907, 1000000000}));
  EXPECT_EQ(table_error([&] { t.whole_numbers(1, "a count", 0, kMost); }),
            "t.csv: line 2: expected a count in column 'x', found '1.5'");
  for (const char* bad : {"-1", "99999999999999999999", "nan", "inf", "0x10", "1 2", ""}) {
    const NumberTable u = table("i,n\n0," + std::string(bad) + "\n");
    EXPECT_EQ(table_error([&] { u.whole_numbers(1, "a count", 0, kMost); }),
              "t.csv: line 2: expected a count in column 'n', found '" + std::string(bad) + "'");
  }
}

TEST(NumberTable, NumberedColumnsStartAtZeroOrOneInAnyOrderWithoutGaps) {
  using Columns = std::vector<std::size_t>;
  EXPECT_EQ(table("t1,t2,x\n1,2,3\n").numbered("t"), (Columns{0, 1}));
  EXPECT_EQ(table("t2,x,t1,t0\n1,2,3,4\n").numbered("t"), (Columns{3, 2, 0}));
  EXPECT_EQ(table("x,time,t\n1,2,3\n").numbered("t"), Columns{});
  EXPECT_EQ(table_error([] { table("t1,t3\n1,2\n").numbered("t"); }),
            "t.csv: expected a column 't2' before 't3', found none");
  EXPECT_EQ(table_error([] { table("t2,t3\n1,2\n").numbered("t"); }),
            "t.csv: expected a column 't1' before 't2', found none");
  EXPECT_EQ(table_error([] { table("t01,t1\n1,2\n").numbered("t"); }),
            "t.csv: expected a column 't2' before 't1', found none");
}

TEST(NumberTable, WordsAreTheFieldsAsTheyStand) {
  const NumberTable t = table("age,\"a b\"\n 0-19 ,1\n\"more, than 50\",x\r\n");
  EXPECT_EQ(t.words("age"), (std::vector<std::string>{"0-19", "more, than 50"}));
  EXPECT_EQ(t.words("a b"), (std::vector<std::string>{"1", "x"}));
}

TEST(NumberTable, MessagesNameThePlaceAndHideControlBytes) {
  EXPECT_EQ(table_error([] { table(""); }), "t.csv: expected a header line, the file is empty");
  EXPECT_EQ(table_error([] { table("a,b\n"); }),
            "t.csv: expected at least one row below the header, found none");
  EXPECT_EQ(table_error([] { table("a,b\n1\n"); }),
            "t.csv: line 2: expected 2 fields as in the header, found 1");
  EXPECT_EQ(table_error([] { table("a\n1,2\n"); }),
            "t.csv: line 2: expected 1 fields as in the header, found 2");
  EXPECT_EQ(table_error([] { table("a,a\n1,2\n"); }), "t.csv: line 1: column 'a' occurs twice");
  EXPECT_EQ(table_error([] { table("a,b\n1,2\n").numbers("c"); }),
            "t.csv: expected a column 'c', found 'a', 'b'");
  EXPECT_EQ(table_error([] { table("a\n\x1b[31m\n").numbers("a"); }),
            "t.csv: line 2: expected a number in column 'a', found '\\x1b[31m'");
  EXPECT_EQ(table_error([] { read_number_table("/nowhere.csv"); }),
            "/nowhere.csv: expected a CSV file, it cannot be opened");
}

}  // namespace
}  // namespace offramp
