// Files that torch.save wrote (tests/fixtures/make_pth.py): every value, and what is refused in which words.
#include "base/pth.h"

#include "base/errors.h"
#include "tests/support/temp_folder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

namespace offramp::pth {
namespace {

using test::read_text;
using test::TempFolder;
using test::write_text;

std::string fixture(const std::string& name) {
  return std::string(OFFRAMP_SOURCE_DIR) + "/tests/fixtures/pth/" + name;
}

std::string message_of(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}
std::string refusal(const std::string& name, const std::string& entry = "") {
  const std::string path = fixture(name);
  const std::string message = message_of([&] { Reader(path, entry); });
  return message.starts_with(path + ": ") ? message.substr(path.size() + 2) : message;
}

const Tensor& find(const Reader& reader, const std::string& name) {
  for (const Tensor& tensor : reader.tensors()) {
    if (tensor.name == name) return tensor;
  }
  throw ValueError("no tensor " + name);
}

template <class T>
std::vector<T> values(const Reader& reader, const std::string& name) {
  const std::vector<std::byte> bytes = reader.bytes(find(reader, name));
  std::vector<T> out(bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
  return out;
}

class Pth : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!ZipArchive::available()) GTEST_SKIP() << "built without libzip";
  }
};

TEST_F(Pth, EveryTypeIsRead) {
  const Reader reader(fixture("types.pth"));
  EXPECT_EQ(values<float>(reader, "float32"), (std::vector<float>{0, 1, 2, -3}));
  EXPECT_EQ(values<double>(reader, "float64"), (std::vector<double>{0, 1, 2, -3}));
  EXPECT_EQ(values<std::uint16_t>(reader, "float16"),
            (std::vector<std::uint16_t>{0, 0x3c00, 0x4000, 0xc200}));
  EXPECT_EQ(values<std::uint16_t>(reader, "bfloat16"),
            (std::vector<std::uint16_t>{0, 0x3f80, 0x4000, 0xc040}));
  EXPECT_EQ(values<std::int64_t>(reader, "int64"), (std::vector<std::int64_t>{0, 1, 2, -3}));
  EXPECT_EQ(values<std::int32_t>(reader, "int32"), (std::vector<std::int32_t>{0, 1, 2, -3}));
  EXPECT_EQ(values<std::int16_t>(reader, "int16"), (std::vector<std::int16_t>{0, 1, 2, -3}));
  EXPECT_EQ(values<std::int8_t>(reader, "int8"), (std::vector<std::int8_t>{0, 1, 2, -3}));
  EXPECT_EQ(values<std::uint8_t>(reader, "uint8"), (std::vector<std::uint8_t>{0, 1, 2, 3}));
  EXPECT_EQ(values<std::uint8_t>(reader, "bool"), (std::vector<std::uint8_t>{0, 1, 1, 1}));
  EXPECT_EQ(values<float>(reader, "complex64"), (std::vector<float>{0, 0, 1, 0, 2, 0, -3, 0}));
  // Over an untyped storage: torch has no typed ones for these.
  EXPECT_EQ(values<std::uint16_t>(reader, "uint16"), (std::vector<std::uint16_t>{0, 1, 2, 3}));
  EXPECT_EQ(values<std::uint32_t>(reader, "uint32"), (std::vector<std::uint32_t>{0, 1, 2, 3}));
  EXPECT_EQ(values<std::uint8_t>(reader, "float8_e4m3fn"), (std::vector<std::uint8_t>{0, 0x38, 0x40, 0xc4}));
  EXPECT_EQ(find(reader, "float8_e4m3fn").dtype, Dtype::kF8E4M3);
  EXPECT_EQ(reader.tensors().size(), 14u);
  EXPECT_TRUE(reader.opaque().empty());
}

// A formula for the value at each place, and the shape, say what every view must read.
TEST_F(Pth, ViewsAreReadThroughTheirStrides) {
  const Reader reader(fixture("views.pth"));
  const auto expect = [&](const std::string& name, std::vector<std::int64_t> shape, auto value) {
    EXPECT_EQ(find(reader, name).shape, shape) << name;
    shape.resize(4, 1);
    using T = decltype(value(0, 0, 0, 0));
    std::vector<T> want;
    for (std::int64_t i = 0; i < shape[0]; ++i)
      for (std::int64_t j = 0; j < shape[1]; ++j)
        for (std::int64_t k = 0; k < shape[2]; ++k)
          for (std::int64_t l = 0; l < shape[3]; ++l) want.push_back(value(i, j, k, l));
    EXPECT_EQ(values<T>(reader, name), want) << name;
  };
  const auto real = [](std::int64_t v) { return static_cast<float>(v); };
  expect("base", {4, 6}, [&](auto i, auto j, auto, auto) { return real(6 * i + j); });
  expect("tied", {4, 6}, [&](auto i, auto j, auto, auto) { return real(6 * i + j); });
  EXPECT_EQ(find(reader, "tied").storage, find(reader, "base").storage);
  expect("transposed", {6, 4}, [&](auto i, auto j, auto, auto) { return real(6 * j + i); });
  expect("sliced", {2, 3}, [&](auto i, auto j, auto, auto) { return real(6 * (1 + 2 * i) + 1 + 2 * j); });
  expect("expanded", {5, 3}, [&](auto, auto j, auto, auto) { return real(j); });
  expect("channels_last", {2, 3, 2, 2}, [&](auto i, auto j, auto k, auto l) {
    return real(((i * 3 + j) * 2 + k) * 2 + l);
  });
  expect("permuted", {4, 2, 3}, [&](auto i, auto j, auto k, auto) {
    return static_cast<double>((j * 3 + k) * 4 + i);
  });
  expect("scalar", {}, [&](auto, auto, auto, auto) { return 7.5f; });
  expect("empty", {0, 3}, [&](auto, auto, auto, auto) { return 0.f; });
  expect("parameter", {6}, [&](auto i, auto, auto, auto) { return real(12 + i); });
  expect("marked", {3}, [&](auto i, auto, auto, auto) { return real(i); });
  // Half precision of 0 ... 23 is exact; 1.0 is 0x3c00, 6 is 0x4600.
  EXPECT_EQ(values<std::uint16_t>(reader, "half_transposed")[1], 0x4600);
  EXPECT_EQ(values<std::uint16_t>(reader, "half_transposed")[4], 0x3c00);
}

TEST_F(Pth, CheckpointsOfTheFieldGiveTheirStateDict) {
  const std::map<std::string, std::string> files{{"state_dict.pth", "state_dict"},
                                                 {"model.pth", "model"},
                                                 {"net.pth", "net"},
                                                 {"model_state_dict.pth", "model_state_dict"},
                                                 {"other_name.pth", "student"},
                                                 {"nested.pth", "state_dict.model"},
                                                 {"protocol2.pth", ""},
                                                 {"protocol4.pth", ""},
                                                 {"protocol5.pth", ""}};
  for (const auto& [name, entry] : files) {
    const Reader reader(fixture(name));
    EXPECT_EQ(reader.entry(), entry) << name;
    ASSERT_EQ(reader.tensors().size(), 2u) << name;
    EXPECT_EQ(values<float>(reader, "weight"), (std::vector<float>{0, 1, 2, 3, 4, 5})) << name;
    EXPECT_EQ(find(reader, "weight").shape, (std::vector<std::int64_t>{2, 3})) << name;
    EXPECT_EQ(values<float>(reader, "bias"), (std::vector<float>{1, 1})) << name;
    EXPECT_TRUE(reader.opaque().empty()) << name;
  }
  EXPECT_EQ(Reader(fixture("two.pth"), "discriminator").tensors().size(), 2u);
}

TEST_F(Pth, ABigEndianFileHasTheSameNumbers) {
  const Reader reader(fixture("big_endian.pth"));
  EXPECT_EQ(values<float>(reader, "a"), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(values<float>(reader, "b"), (std::vector<float>{1.5f, -2}));
}

TEST_F(Pth, WhatIsNoTensorIsPassedOverAndKeptForMessages) {
  const Reader reader(fixture("odd_entries.pth"));
  EXPECT_EQ(reader.tensors().size(), 2u);
  std::map<std::string, std::string> opaque;
  for (const Opaque& one : reader.opaque()) opaque[one.name] = one.what;
  EXPECT_EQ(opaque,
            (std::map<std::string, std::string>{
                {"_extra_state", "an object of 'argparse.Namespace'"},
                {"steps", "the number 5"},
                {"sparse", "a tensor of a kind that is not read (torch._utils._rebuild_sparse_tensor)"}}));
}

TEST_F(Pth, WhatIsNoStateDictIsRefusedWithTheWayOut) {
  EXPECT_EQ(refusal("whole_model.pth"),
            "the file holds an object of 'torch.nn.modules.linear.Linear', a state dict is wanted: "
            "torch.save(model.state_dict(), FILE)");
  EXPECT_EQ(refusal("whole_model_inside.pth"),
            "entry 'net' is an object of '__main__.Small', a state dict is wanted: "
            "torch.save(model.state_dict(), FILE)");
  EXPECT_EQ(refusal("legacy.pth"),
            "a file of torch.save before 1.6 (no zip archive): where torch is, write it again with "
            "torch.save(torch.load(FILE, map_location='cpu'), NEW)");
  EXPECT_EQ(refusal("script.pth"),
            "a TorchScript archive; where torch is: torch.save(torch.jit.load(FILE).state_dict(), NEW)");
  EXPECT_EQ(refusal("empty.pth"), "no state dict found; the file holds 'epoch': the number 3");
  EXPECT_EQ(refusal("two.pth"),
            "several entries hold tensors: 'generator', 'discriminator'; --entry NAME chooses one");
  EXPECT_EQ(refusal("two.pth", "teacher"),
            "no entry 'teacher'; the file holds 'generator': a dict of 2, 'discriminator': a dict of 2");
  EXPECT_EQ(refusal("no_torch.zip"), "a zip file without data.pkl, so not one of torch.save");
  EXPECT_EQ(refusal("compressed.pth"),
            "zip member 'protocol2/byteorder': compressed; torch.save stores members as they are (zip -0)");
  EXPECT_EQ(
      refusal("protocol0.pth"),
      "pickle (data.pkl), byte 2: opcode 0x70 is not taken: files of torch.save with pickle protocol 2 to "
      "5 are read");
}

TEST_F(Pth, DamageIsSeen) {
  const TempFolder folder;
  const std::string whole = read_text(fixture("protocol2.pth"));
  // Truncated anywhere, the directory at the end is gone.
  for (std::size_t size = 2; size < whole.size(); size += 61) {
    write_text(folder / "x", std::string_view(whole).substr(0, size));
    EXPECT_NE(message_of([&] { Reader(folder / "x"); }), "nothing was thrown") << size;
  }
  // A flipped bit of a value: the member's checksum.
  const float five = 5;
  const std::size_t at = whole.find(std::string_view(reinterpret_cast<const char*>(&five), 4));
  ASSERT_NE(at, std::string::npos);
  std::string flipped = whole;
  flipped[at] = static_cast<char>(flipped[at] ^ 1);
  write_text(folder / "x", flipped);
  const Reader reader(folder / "x");
  EXPECT_EQ(message_of([&] { values<float>(reader, "weight"); }),
            (folder / "x").string() + ": zip member 'protocol2/data/0': CRC error");
}

// Found by fuzzing: the directory of a small file may claim any length.
TEST_F(Pth, AMemberLongerThanItsArchiveIsRefusedBeforeMemoryIsTaken) {
  const TempFolder folder;
  std::string text = read_text(fixture("protocol2.pth"));
  const std::size_t name = text.rfind("protocol2/data/0");  // in the directory at the end
  ASSERT_NE(name, std::string::npos);
  const std::uint32_t huge = 0x7fffffff;
  std::memcpy(text.data() + name - 46 + 20, &huge, 4);  // stored and unfolded sizes (APPNOTE 4.3.12)
  std::memcpy(text.data() + name - 46 + 24, &huge, 4);
  write_text(folder / "x", text);
  const Reader reader(folder / "x");
  EXPECT_EQ(message_of([&] { values<float>(reader, "weight"); }),
            (folder / "x").string() +
                ": zip member 'protocol2/data/0': 2147483647 bytes by the directory, the "
                "archive has " +
                std::to_string(text.size()));
}

// numpy.savez writes zips too.
TEST(PthBeginning, AnArchiveOfArraysIsNoFileOfTorch) {
  const auto zip_of = [](const std::string& member) {
    std::string text = "PK\x03\x04" + std::string(22, '\0');
    text +=
        {static_cast<char>(member.size()), '\0', '\0', '\0'};  // lengths of the name and of what follows it
    return text + member + "data";
  };
  const auto looks = [](const std::string& text) { return looks_like(std::as_bytes(std::span(text))); };
  EXPECT_TRUE(looks(zip_of("archive/data.pkl")));
  EXPECT_FALSE(looks(zip_of("images.npy")));
  EXPECT_TRUE(looks("PK")) << "cut off: the reader says so";
}

TEST(PthWithoutZip, SaysWhatToDo) {
  if (ZipArchive::available()) GTEST_SKIP() << "built with libzip";
  EXPECT_NE(refusal("protocol2.pth").find("was built without libzip"), std::string::npos);
}

}  // namespace
}  // namespace offramp::pth
