#include "base/errors.h"

#include <gtest/gtest.h>

#include <array>

namespace offramp {
namespace {

TEST(Errors, FileErrorNamesPathWhatAndOffset) {
  const FileError error("/data/x.bin", 16, "label: 0 to 9 wanted, got 11");
  EXPECT_STREQ(error.what(), "/data/x.bin: label: 0 to 9 wanted, got 11, at byte 16");
  EXPECT_EQ(error.path(), "/data/x.bin");
  EXPECT_EQ(error.offset(), 16u);
  EXPECT_FALSE(FileError("/data/x.bin", "open: no").offset().has_value());
}

TEST(Errors, EveryErrorIsAnOfframpError) {
  EXPECT_THROW(throw ShapeError("s"), Error);
  EXPECT_THROW(throw ValueError("v"), Error);
  EXPECT_THROW(throw DeviceError("d"), Error);
  EXPECT_THROW(throw NumericError("n"), Error);
  EXPECT_THROW(throw OutOfMemoryError("o"), Error);
  EXPECT_THROW(throw FileError("p", "f"), Error);
}

TEST(Errors, ShapesPrintWithoutSpaces) {
  EXPECT_EQ(format_shape({128, 3, 32, 32}), "[128,3,32,32]");
  EXPECT_EQ(format_shape(std::array<int, 0>{}), "[]");
  EXPECT_EQ(format_shape(std::array<int, 1>{7}), "[7]");
}

TEST(Errors, QuotedTextCannotDriveATerminalAndIsCut) {
  EXPECT_EQ(in_quotes("a\x1b[2Jb\n"), "'a\\x1b[2Jb\\x0a'");
  EXPECT_EQ(in_quotes(std::string(100, 'x')), "'" + std::string(80, 'x') + "'... (100 bytes)");
}

TEST(Errors, WordsOfAShellAreQuotedWhereTheyNeedIt) {
  EXPECT_EQ(shell_quoted("out/run-1"), "out/run-1");
  EXPECT_EQ(shell_quoted("pets?side=32"), "'pets?side=32'");
  EXPECT_EQ(shell_quoted("my runs"), "'my runs'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted(""), "''");
}

}  // namespace
}  // namespace offramp
