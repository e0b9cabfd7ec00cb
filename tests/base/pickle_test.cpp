// Pickles laid out by hand from the description of the opcodes (Python's pickletools).
#include "base/pickle.h"

#include "base/errors.h"

#include <gtest/gtest.h>

namespace offramp::pickle {
namespace {

Pickle parsed(std::string_view text) { return parse("x.pth", std::as_bytes(std::span(text))); }

std::string refusal(std::string_view text) {
  try {
    parsed(text);
  } catch (const FileError& error) {
    return std::string(error.what()).substr(std::string("x.pth: pickle (data.pkl), ").size());
  }
  return "nothing was thrown";
}

using namespace std::string_view_literals;

TEST(Pickle, NumbersOfEveryWidthKeepTheirSign) {
  const Pickle p = parsed(
      "\x80\x02(K\xffM\xff\xffJ\xfe\xff\xff\xff\x8a\x00\x8a\x01\x80\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"
      "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00\x8b\x02\x00\x00\x00\x00\x80G\xbf\xf8\x00\x00\x00\x00\x00\x00\x88\x89Nl."sv);
  const Value& list = p.at(p.root);
  ASSERT_EQ(list.kind, Kind::kList);
  ASSERT_EQ(list.items.size(), 12u);
  const std::int64_t want[] = {255, 65535, -2, 0, -128, std::numeric_limits<std::int64_t>::max()};
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(p.at(list.items[i]).integer, want[i]) << i;
  EXPECT_EQ(p.at(list.items[6]).kind, Kind::kBigInt);
  EXPECT_EQ(p.at(list.items[7]).integer, -32768);
  EXPECT_EQ(p.at(list.items[8]).real, -1.5);
  EXPECT_EQ(p.at(list.items[9]).integer, 1);
  EXPECT_EQ(p.at(list.items[10]).kind, Kind::kBool);
  EXPECT_EQ(p.at(list.items[11]).kind, Kind::kNone);
}

TEST(Pickle, ACallIsNamedAndNeverMade) {
  const Pickle p = parsed(
      "\x80\x02"
      "cos\nsystem\nX\x02\x00\x00\x00ls\x85R."sv);
  EXPECT_EQ(p.at(p.root).kind, Kind::kCall);
  EXPECT_EQ(describe(p, p.root), "an object of 'os.system'");
}

TEST(Pickle, TheMemoGivesTheSameValueAndCyclesAreHarmless) {
  const Pickle p = parsed(
      "\x80\x04]\x94h\x00"
      "a."sv);  // a list that holds itself
  EXPECT_EQ(p.at(p.root).items, (std::vector<Index>{p.root}));
  EXPECT_EQ(describe(p, p.root), "a list of 1");
}

TEST(Pickle, PairsSetOnAnOrderedDictStayBesideTheCall) {
  const Pickle p = parsed(
      "\x80\x02"
      "ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00"
      "aK\x01u}b."sv);
  const Value& call = p.at(p.root);
  ASSERT_EQ(call.kind, Kind::kCall);
  EXPECT_TRUE(call.built);
  ASSERT_NE(call.extra, 0u);
  ASSERT_EQ(p.at(call.extra).items.size(), 2u);
  EXPECT_EQ(p.at(p.at(call.extra).items[0]).text, "a");
}

TEST(Pickle, WhatIsWrongIsNamedWithItsByte) {
  EXPECT_EQ(refusal(""sv), "byte 0: 1 bytes wanted, 0 left: truncated");
  EXPECT_EQ(refusal("\x80\x09N."sv), "byte 0: protocol: 2 to 5 are read, got 9");
  EXPECT_EQ(refusal("\x80\x02."sv), "byte 2: the end wants one value, there are 0");
  EXPECT_EQ(refusal("\x80\x02NN."sv), "byte 4: the end wants one value, there are 2");
  EXPECT_EQ(refusal("\x80\x02R"sv), "byte 2: opcode wants 1 values on the stack, there are 0");
  EXPECT_EQ(refusal("\x80\x02NN(s."sv), "byte 5: opcode wants 2 values on the stack, there are 0");
  EXPECT_EQ(refusal("\x80\x02t"sv), "byte 2: opcode wants a mark on the stack, there is none");
  EXPECT_EQ(refusal("\x80\x02h\x05"sv), "byte 2: memo slot 5 is empty");
  EXPECT_EQ(refusal("\x80\x02}(Nu."sv), "byte 5: a dict wants keys and values in pairs");
  EXPECT_EQ(refusal("\x80\x02}Na."sv), "byte 4: opcode adds to a container of another kind");
  EXPECT_EQ(refusal("\x80\x02X\xff\xff\xff\xff"sv), "byte 2: 4294967295 bytes wanted, 0 left: truncated");
  EXPECT_EQ(refusal("\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff"sv),
            "byte 2: 18446744073709551615 bytes wanted, 0 left: truncated");
  EXPECT_EQ(refusal("\x80\x02"
                    "cos"sv),
            "byte 2: a line wanted: truncated");
  EXPECT_EQ(refusal("\x80\x04NN\x93."sv), "byte 4: a class is named by two texts");
  EXPECT_EQ(refusal("\x80\x02r\xff\xff\xff\xff"sv),
            "byte 2: opcode wants 1 values on the stack, there are 0");
  EXPECT_EQ(refusal("\x80\x02Nr\xff\xff\xff\xff"sv), "byte 3: memo: at most 1000000 slots");
  EXPECT_EQ(refusal("\x80\x02\x82\x01"sv),
            "byte 2: opcode 0x82 is not taken: files of torch.save with pickle protocol 2 to 5 are read");
}

TEST(Pickle, ManyValuesAreRefusedBeforeTheyFillTheMemory) {
  EXPECT_EQ(refusal("\x80\x02" + std::string(1'000'001, 'N')),
            "byte 1000001: at most 1000000 values are read");
  EXPECT_EQ(refusal("\x80\x02N" + std::string(5'000'000, '2')),
            "byte 4000002: stack: at most 4000000 values");
}

}  // namespace
}  // namespace offramp::pickle
