#include "base/protobuf_writer.h"

#include <gtest/gtest.h>

#include <string>

namespace offramp {
namespace {

using namespace std::string_literals;

// The examples of protobuf.dev/programming-guides/encoding.
TEST(ProtobufWriter, GivesTheBytesOfTheEncodingGuide) {
  EXPECT_EQ(ProtobufMessage().add_int(1, 150).bytes(), "\x08\x96\x01"s);
  EXPECT_EQ(ProtobufMessage().add_text(2, "testing").bytes(), "\x12\x07testing"s);
  ProtobufMessage inner, outer;
  inner.add_int(1, 150);
  EXPECT_EQ(outer.add_message(3, inner).bytes(), "\x1a\x03\x08\x96\x01"s);
  // -2 as an int64: ten bytes.
  EXPECT_EQ(ProtobufMessage().add_int(1, -2).bytes(), "\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"s);
}

TEST(ProtobufWriter, NumbersOfFixedWidthAndLargeFieldNumbers) {
  EXPECT_EQ(ProtobufMessage().add_float(2, 1.f).bytes(), "\x15\x00\x00\x80\x3f"s);
  EXPECT_EQ(ProtobufMessage().add_double(1, 1.0).bytes(), "\x09\x00\x00\x00\x00\x00\x00\xf0\x3f"s);
  EXPECT_EQ(ProtobufMessage().add_int(20, 0).bytes(), "\xa0\x01\x00"s);
  EXPECT_EQ(ProtobufMessage().add_int(1, 127).bytes(), "\x08\x7f"s);
  EXPECT_EQ(ProtobufMessage().add_int(1, 128).bytes(), "\x08\x80\x01"s);
}

// Long fields are pieces of their own, at every depth; nothing but their number changes.
TEST(ProtobufWriter, LongFieldsKeepTheirPlace) {
  const std::string longer(10'000, 'w');
  ProtobufMessage inner, outer;
  inner.add_text(1, "a").add_bytes(2, longer).add_text(3, "b");
  outer.add_int(1, 1).add_message(2, std::move(inner)).add_int(3, 3);
  const std::string within =
      "\x0a\x01"s + "a" + "\x12\x90\x4e"s + longer + "\x1a\x01"s + "b";  // 10,000: 0x90 0x4e
  EXPECT_EQ(within.size(), 10'009u);                                     // 0x99 0x4e
  EXPECT_EQ(outer.bytes(), "\x08\x01\x12\x99\x4e"s + within + "\x18\x03"s);
  EXPECT_EQ(outer.size(), outer.bytes().size());
  EXPECT_GT(outer.pieces().size(), 2u);
}

}  // namespace
}  // namespace offramp
