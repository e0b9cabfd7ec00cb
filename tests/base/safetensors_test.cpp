#include "base/safetensors.h"

#include "base/errors.h"
#include "tests/support/temp_folder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

namespace offramp::safetensors {
namespace {

using test::read_text;
using test::TempFolder;
using test::write_text;

std::string length_of_header(std::uint64_t length) {
  std::string field(8, '\0');
  std::memcpy(field.data(), &length, 8);
  return field;
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

template <class T>
std::vector<T> values_of(std::span<const std::byte> bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::string message_of(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Safetensors, WhatIsWrittenComesBack) {
  const TempFolder folder;
  std::vector<float> weight(2 * 3 * 5);
  std::iota(weight.begin(), weight.end(), -7.5f);
  const std::vector<std::int64_t> steps{1'234'567'890'123};
  const std::vector<std::uint16_t> half{0x3f80, 0xbf80, 0x7fc0};
  const std::vector<std::uint8_t> mask{1, 0, 1, 1, 0};
  const std::vector<float> none;
  const Source sources[] = {{"mask", Dtype::kBool, {5}, bytes_of(mask)},
                            {"conv.weight", Dtype::kF32, {2, 3, 5}, bytes_of(weight)},
                            {"half", Dtype::kBF16, {3, 1}, bytes_of(half)},
                            {"steps", Dtype::kI64, {}, bytes_of(steps)},
                            {"none", Dtype::kF32, {4, 0}, bytes_of(none)}};
  write(folder / "x.safetensors", sources, {{"format", "pt"}, {"note", "quote \" and \xc3\xa9 \n"}});

  const Reader reader(folder / "x.safetensors");
  EXPECT_EQ(reader.entries().size(), 5u);
  EXPECT_EQ(reader.metadata(), (Metadata{{"format", "pt"}, {"note", "quote \" and \xc3\xa9 \n"}}));
  EXPECT_EQ(values_of<float>(reader.bytes("conv.weight")), weight);
  EXPECT_EQ(values_of<std::int64_t>(reader.bytes("steps")), steps);
  EXPECT_EQ(values_of<std::uint16_t>(reader.bytes("half")), half);
  EXPECT_EQ(values_of<std::uint8_t>(reader.bytes("mask")), mask);
  EXPECT_EQ(reader.bytes("none").size(), 0u);
  const Entry& entry = reader.expect("conv.weight", Dtype::kF32, std::vector<std::int64_t>{2, 3, 5});
  EXPECT_EQ(entry.elements(), 30u);
  EXPECT_EQ(reader.find("nobody"), nullptr);
}

// Bytes laid out by hand from the description of the format, not by our writer.
TEST(Safetensors, ReadsAFileLaidOutByHand) {
  const TempFolder folder;
  const std::string header =
      R"({"b":{"data_offsets":[0,4],"shape":[2,2],"dtype":"U8"},"a":{"dtype":"I16","shape":[1],"data_offsets":[4,6]}} )";
  write_text(folder / "x",
             length_of_header(header.size()) + header + std::string("\x01\x02\x03\x04\xff\xfe", 6));
  const Reader reader(folder / "x");
  ASSERT_EQ(reader.entries().size(), 2u);
  EXPECT_EQ(reader.entries()[0].name, "b");  // in order of their bytes
  EXPECT_EQ(reader.entries()[0].shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(values_of<std::uint8_t>(reader.bytes("b")), (std::vector<std::uint8_t>{1, 2, 3, 4}));
  EXPECT_EQ(values_of<std::int16_t>(reader.bytes("a")), (std::vector<std::int16_t>{-257}));
}

TEST(Safetensors, ReadsAFileWithoutTensors) {
  const TempFolder folder;
  write_text(folder / "x", length_of_header(2) + "{}");
  EXPECT_TRUE(Reader(folder / "x").entries().empty());
  write(folder / "y", {});
  EXPECT_TRUE(Reader(folder / "y").entries().empty());
}

TEST(Safetensors, EveryDtypeKeepsNameAndSize) {
  const TempFolder folder;
  const std::vector<std::pair<std::string, std::size_t>> expected{{"BOOL", 1},
                                                                  {"U8", 1},
                                                                  {"I8", 1},
                                                                  {"F8_E5M2", 1},
                                                                  {"F8_E4M3", 1},
                                                                  {"I16", 2},
                                                                  {"U16", 2},
                                                                  {"F16", 2},
                                                                  {"BF16", 2},
                                                                  {"I32", 4},
                                                                  {"U32", 4},
                                                                  {"F32", 4},
                                                                  {"F64", 8},
                                                                  {"I64", 8},
                                                                  {"U64", 8},
                                                                  {"F8_E4M3FNUZ", 1},
                                                                  {"F8_E5M2FNUZ", 1},
                                                                  {"F8_E8M0", 1},
                                                                  {"C64", 8}};
  // Elements that share bytes: eight of 4 or 6 bits.
  const std::map<std::string, std::size_t> packed{{"F4", 4}, {"F6_E2M3", 6}, {"F6_E3M2", 6}};
  const std::vector<std::byte> data(8 * 8, std::byte{0x5a});
  std::vector<Source> sources;
  for (int i = 0; i <= static_cast<int>(kLastDtype); ++i) {
    const auto dtype = static_cast<Dtype>(i);
    sources.push_back({std::string(dtype_name(dtype)), dtype, {8}, std::span(data).first(dtype_bits(dtype))});
  }
  ASSERT_EQ(sources.size(), expected.size() + packed.size());
  write(folder / "x", sources);
  const Reader reader(folder / "x");
  const auto expect = [&](const std::string& name, std::size_t bytes) {
    const Entry* const entry = reader.find(name);
    ASSERT_NE(entry, nullptr) << name;
    EXPECT_EQ(dtype_name(entry->dtype), name);
    EXPECT_EQ(entry->bytes(), bytes) << name;
    EXPECT_EQ(entry->elements(), 8u) << name;
  };
  for (const auto& [name, bytes] : expected) expect(name, 8 * bytes);
  for (const auto& [name, bytes] : packed) expect(name, bytes);

  Source half_a_byte{"w", Dtype::kF4, {3}, std::span(data).first(2)};
  EXPECT_EQ(message_of([&] { write(folder / "y", std::span(&half_a_byte, 1)); }),
            "safetensors shape: [3] of F4 does not fill whole bytes of tensor 'w'");
}

TEST(Safetensors, EveryTensorIsAlignedWhateverTheOrderAndEqualContentGivesEqualBytes) {
  const TempFolder folder;
  const std::vector<std::uint8_t> bytes{1, 2, 3};
  const std::vector<float> floats{1, 2, 3};
  const std::vector<double> doubles{1};
  std::vector<Source> sources{{"u", Dtype::kU8, {3}, bytes_of(bytes)},
                              {"f", Dtype::kF32, {3}, bytes_of(floats)},
                              {"d", Dtype::kF64, {1}, bytes_of(doubles)}};
  write(folder / "x", sources, {{"b", "2"}, {"a", "1"}});
  std::swap(sources[0], sources[2]);
  write(folder / "y", sources, {{"a", "1"}, {"b", "2"}});
  EXPECT_EQ(read_text(folder / "x"), read_text(folder / "y"));
  const Reader reader(folder / "x");
  for (const Entry& entry : reader.entries()) {
    const auto address = reinterpret_cast<std::uintptr_t>(reader.bytes(entry).data());
    EXPECT_EQ(address % (dtype_bits(entry.dtype) / 8), 0u) << entry.name;
  }
}

TEST(Safetensors, MovedReadersKeepTheirSpans) {
  const TempFolder folder;
  const std::vector<float> values{1, 2};
  const Source sources[] = {{"w", Dtype::kF32, {2}, bytes_of(values)}};
  write(folder / "x", sources);
  write(folder / "y", {});
  Reader first(folder / "x");
  const std::byte* const data = first.bytes("w").data();
  Reader second(std::move(first));
  EXPECT_EQ(second.bytes("w").data(), data);
  Reader third(folder / "y");
  third = std::move(second);
  EXPECT_EQ(values_of<float>(third.bytes("w")), values);
}

TEST(Safetensors, ExpectNamesTensorAndBothShapes) {
  const TempFolder folder;
  const std::vector<float> values{1, 2};
  const Source sources[] = {{"fc.bias", Dtype::kF32, {2}, bytes_of(values)}};
  write(folder / "x", sources);
  const Reader reader(folder / "x");
  const std::string path = (folder / "x").string();
  EXPECT_EQ(message_of([&] { reader.expect("fc.bias", Dtype::kF32, std::vector<std::int64_t>{3}); }),
            path + ": tensor 'fc.bias': wanted F32 [3], file has F32 [2]");
  EXPECT_EQ(message_of([&] { reader.expect("fc.bias", Dtype::kF16, std::vector<std::int64_t>{2}); }),
            path + ": tensor 'fc.bias': wanted F16 [2], file has F32 [2]");
  EXPECT_EQ(message_of([&] { reader.bytes("fc.weight"); }), path + ": tensor 'fc.weight': not in the file");
}

TEST(Safetensors, TheWriterRefusesWhatItCouldNotReadBack) {
  const TempFolder folder;
  const std::vector<float> values{1, 2};
  const auto write_one = [&](const std::string& name, std::vector<std::int64_t> shape) {
    const Source sources[] = {{name, Dtype::kF32, std::move(shape), bytes_of(values)}};
    write(folder / "x", sources);
  };
  EXPECT_EQ(message_of([&] { write_one("w", {3}); }),
            "safetensors bytes: shape [3] of F32 takes 12, got 8 of tensor 'w'");
  EXPECT_EQ(message_of([&] {
              write_one("w", {-2, -1});
            }),
            "safetensors shape: negative extent in [-2,-1] of tensor 'w'");
  EXPECT_EQ(message_of([&] { write_one("__metadata__", {2}); }),
            "safetensors name: __metadata__ is reserved");
  EXPECT_EQ(message_of([&] { write_one("\xff", {2}); }),
            "safetensors write: names and metadata must be UTF-8 (" + (folder / "x").string() + ")");
  const Source twice[] = {{"w", Dtype::kF32, {2}, bytes_of(values)},
                          {"w", Dtype::kF32, {2}, bytes_of(values)}};
  EXPECT_EQ(message_of([&] { write(folder / "x", twice); }), "safetensors name: 'w' comes twice");
  EXPECT_FALSE(std::filesystem::exists(folder / "x"));
}

}  // namespace
}  // namespace offramp::safetensors
