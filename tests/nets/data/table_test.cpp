#include "nets/data/table.h"

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

TEST(CsvTable, QuotedClassesAreNumberedInOrder) {
  const TempFolder folder;
  const TableSet set = read_csv_table(folder.put_text("t", "\"30\",1,0\n\"2\",0,1\r\n\"30\",0.5,-1e-1"));
  EXPECT_EQ(set.n, 3);
  EXPECT_EQ(set.d, 2);
  EXPECT_EQ(set.labels, (std::vector<std::int32_t>{1, 0, 1}));
  EXPECT_EQ(set.class_names, (std::vector<std::string>{"2", "30"}));
  EXPECT_EQ(set.row(2)[1], -.1f);
}

TEST(CsvTable, AsOtherProgramsWriteThem) {
  const auto read = [](const std::string& text) {
    return parse_csv_table(std::vector<std::uint8_t>(text.begin(), text.end()), "t");
  };
  // A byte order mark, a header, blanks, classes as 1.0, a blank line at the end.
  const TableSet excel = read("\xEF\xBB\xBFlabel, a , b\r\n 1.0, 0.5 ,1\r\n\"3.0\",2, -1\r\n\r\n");
  EXPECT_EQ(excel.class_names, (std::vector<std::string>{"1", "3"}));
  EXPECT_EQ(excel.labels, (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(excel.features, (std::vector<float>{.5f, 1, 2, -1}));
  // The column that the header names, not the first one.
  const TableSet last = read("x,y,Class\n4,1,7\n5,0,3\n");
  EXPECT_EQ(last.class_names, (std::vector<std::string>{"3", "7"}));
  EXPECT_EQ(last.labels, (std::vector<std::int32_t>{1, 0}));
  EXPECT_EQ(last.features, (std::vector<float>{4, 1, 5, 0}));
}

// The class 'a,q' is one field; pandas numbers columns that have no name.
TEST(CsvTable, QuotedNamesAndNumberedColumns) {
  const auto read = [](const std::string& text) {
    return parse_csv_table(std::vector<std::uint8_t>(text.begin(), text.end()), "t");
  };
  const TableSet quoted = read("class,x,y\n\"a,q\",1,2\n\"a\"\"z\",3,4\nq\"q,5,6\n");
  EXPECT_EQ(quoted.class_names, (std::vector<std::string>{"a\"z", "a,q", "q\"q"}));
  const TableSet numbered = read("0,1,2,3,4\n1,.5,.25,.75,1\n0,.1,.2,.3,.4\n");
  EXPECT_EQ(numbered.n, 2);
  EXPECT_EQ(read("0,1,2\n1,.5,.25\n").n, 2);
}

// The name of a file beside the numbers is no feature; classes may be names. Both want a header.
TEST(CsvTable, TextBesideTheNumbersIsPassedOver) {
  const auto read = [](const std::string& text) {
    return parse_csv_table(std::vector<std::uint8_t>(text.begin(), text.end()), "t");
  };
  const TableSet set = read("file,x,label,y\na.png,1,dog,2\nb.png,3,cat,4\nc.png,5,dog,6\n");
  EXPECT_EQ(set.d, 2);
  EXPECT_EQ(set.features, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(set.class_names, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(set.labels, (std::vector<std::int32_t>{1, 0, 1}));
  EXPECT_EQ(set.left_out, (std::vector<std::string>{"file"}));
  EXPECT_MESSAGE(read("label,x\ncat,1\n3,2\n"), "expected a class name as in the first row, found '3'");
  EXPECT_MESSAGE(read("label,x\n3,1\ncat,2\n"), "expected a whole number as class, found 'cat'");
  EXPECT_MESSAGE(read("label,x,y\n3,a,1\n4,5,1\n"),
                 "expected text in field 2 as in the first row, found '5'");
  EXPECT_MESSAGE(read("label,x,y\n3,a,\n"), "expected a finite number in field 3, found ''");
  EXPECT_MESSAGE(read("label,x\n3,a\n"), "expected at least one column of numbers beside the class");
  EXPECT_MESSAGE(read("length,species\n5.1,rose\n"), "the header names its column class, label or target");
}

TEST(CsvTable, EveryFaultNamesItsLine) {
  const TempFolder folder;
  const auto read = [&](const std::string& text) { read_csv_table(folder.put_text("t", text)); };
  EXPECT_MESSAGE(read(""), "csv: expected rows, the file is empty");
  EXPECT_MESSAGE(read("1,0,1\n2,0\n"), "expected 3 fields as in the first row, found 2");
  EXPECT_MESSAGE(read("1,0,1\n2,0\n"), "line 2");
  EXPECT_MESSAGE(read("1,0\nx,1\n"), "expected a whole number as class, found 'x'");
  EXPECT_MESSAGE(read("1,0\n1,1x\n"), "expected a finite number in field 2, found '1x'");
  EXPECT_MESSAGE(read("1,0\n1.5,1\n"), "expected a whole number as class, found '1.5'");
  EXPECT_MESSAGE(read("1,1e39\n"), "expected a finite number");
  EXPECT_MESSAGE(read("label,x\n"), "expected rows, the file is empty");
  EXPECT_MESSAGE(read("1,nan\n"), "expected a finite number");
  EXPECT_MESSAGE(read("1\n"), "at least one feature");
  EXPECT_MESSAGE(read("class,Label,x\n1,1,0\n"), "the columns 'class' and 'Label' may both be the class");
}

}  // namespace
}  // namespace offramp::data
