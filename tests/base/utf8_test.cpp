#include "base/utf8.h"

#include "base/errors.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace offramp {
namespace {

using namespace std::string_literals;

TEST(Utf8, WellFormedTextIsTold) {
  for (const std::string& good : {""s,
                                  "plain"s,
                                  "a\0b"s,
                                  "donn\xc3\xa9"s,
                                  "\xe2\x82\xac"s,
                                  "\xf0\x9f\x98\x80"s,
                                  "\xed\x9f\xbf"s,
                                  "\xee\x80\x80"s,
                                  "\xf4\x8f\xbf\xbf"s})
    EXPECT_TRUE(is_utf8(good)) << good;
  const std::vector<std::pair<std::string, std::size_t>> bad = {{"donn\xe9", 4},      // Latin-1
                                                                {"a\xc3", 1},         // cut
                                                                {"\xe2\x82 x", 0},    // cut, then text
                                                                {"ok\xc0\xaf", 2},    // not the shortest form
                                                                {"\xe0\x80\xaf", 0},  // not the shortest form
                                                                {"\xed\xa0\x80", 0},  // a surrogate
                                                                {"\xf4\x90\x80\x80", 0},  // above U+10FFFF
                                                                {"\xf8\x88\x80\x80\x80", 0},  // five bytes
                                                                {"\x80", 0}};
  for (const auto& [text, at] : bad) EXPECT_EQ(first_bad_utf8(text), at) << visible(text);
}

TEST(Utf8, WhatIsShownCannotDriveATerminal) {
  EXPECT_EQ(visible("a\tb\n\x1b[2J\r\x7f"), "a\tb\n\\x1b[2J\\x0d\\x7f");
  EXPECT_EQ(visible("a\0b"s), "a\\x00b");
  EXPECT_EQ(visible("\xc2\x9b"
                    "2J \xc3\xa9 \xe9"),
            "\\xc2\\x9b2J \xc3\xa9 \\xe9");  // CSI as one character
  EXPECT_EQ(in_quotes("donn\xe9\n"), "'donn\\xe9\\x0a'");
}

TEST(Utf8, QuotesAreCutBetweenCharacters) {
  EXPECT_EQ(in_quotes(std::string(79, 'x') + "\xc3\xa9"), "'" + std::string(79, 'x') + "'... (81 bytes)");
}

}  // namespace
}  // namespace offramp
