#include "nets/data/npy.h"

#include <cstring>

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

NpyArray floats(std::vector<std::int64_t> shape, std::vector<float> values) {
  return {std::move(shape), std::move(values)};
}

TEST(Npy, HeaderIsNumpysOwn) {
  // numpy.save of np.array([1.5, -2], dtype=np.float32): magic, version 1.0, header of 118 bytes.
  const auto bytes = encode_npy(floats({2}, {1.5f, -2.f}));
  const std::string head(bytes.begin() + 10, bytes.begin() + 128);
  EXPECT_EQ(bytes.size(), 128u + 8u);
  EXPECT_EQ(head.substr(0, 57), "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }");
  EXPECT_EQ(head.back(), '\n');
  EXPECT_EQ(bytes[8], 118);
}

TEST(Npy, AllTypesAndRanksComeBack) {
  const TempFolder folder;
  const std::vector<NpyArray> arrays = {floats({2, 3}, {1, 2, 3, 4, 5, 6.25f}),
                                        {{3}, std::vector<std::int32_t>{-1, 0, 1 << 30}},
                                        {{1, 2, 2}, std::vector<std::uint8_t>{0, 1, 254, 255}},
                                        {{}, std::vector<std::int64_t>{std::int64_t{1} << 62}},
                                        {{3}, std::vector<std::string>{"cat", "", "z\xC3\xBCrich"}},
                                        {{0, 4}, std::vector<float>{}},
                                        {{3, 0}, std::vector<float>{}},
                                        {{1 << 20, 0, 1 << 20}, std::vector<float>{}}};
  for (const NpyArray& array : arrays) {
    write_npy(folder / "a.npy", array);
    const NpyArray back = read_npy(folder / "a.npy");
    EXPECT_EQ(back.shape, array.shape);
    EXPECT_TRUE(back.values == array.values);
  }
}

TEST(Npy, DamageIsNamed) {
  const auto good = encode_npy(floats({2, 3}, {1, 2, 3, 4, 5, 6}));
  const auto parse = [](std::vector<std::uint8_t> bytes) { parse_npy(bytes, "a.npy"); };
  auto bad = good;
  bad.resize(good.size() - 1);
  EXPECT_MESSAGE(parse(bad), "npy: expected 6 values of 4 bytes, found 23 bytes (a.npy, byte 128)");
  bad = good;
  bad.push_back(0);
  EXPECT_MESSAGE(parse(bad), "1 bytes after the last value (a.npy, byte 152)");
  bad = good;
  bad[1] = 'X';
  EXPECT_MESSAGE(parse(bad), "expected the magic");
  bad = good;
  bad[6] = 9;
  EXPECT_MESSAGE(parse(bad), "expected format 1, 2 or 3, found 9");
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text(good.begin(), good.end());
    text.replace(text.find(from), from.size(), to);
    parse({text.begin(), text.end()});
  };
  EXPECT_MESSAGE(replaced("<f4", "<c8"), "expected numbers, truth values or text, found type '<c8'");
  EXPECT_MESSAGE(replaced("<f4", "|O8"), "found type '|O8'");
  EXPECT_MESSAGE(replaced("<f4", "<f8"), "expected 6 values of 8 bytes, found 24 bytes");
  EXPECT_MESSAGE(replaced("False", "Maybe"), "expected fortran_order True or False, found 'Maybe'");
  EXPECT_MESSAGE(replaced("(2, 3)", "(-2,3)"), "expected sizes >= 0");
  EXPECT_MESSAGE(replaced("(2, 3)", "(99999999999,99999999999)"), "more values");
  EXPECT_MESSAGE(replaced("'shape'", "'shapf'"), "expected 'shape' in the header");
  EXPECT_MESSAGE(parse({}), "expected 8 bytes of magic, found 0");
}

TEST(Npy, ShapeMustBeTheNumberOfValues) {
  EXPECT_MESSAGE(encode_npy(floats({3}, {1})), "npy: expected 3 values as the shape says, found 1");
}

TEST(Npz, StoredAndDeflatedComeBackAndAreDeterministic) {
  const TempFolder folder;
  const NpzFile file = {{"x", floats({2, 2}, {1, 2, 3, 4})},
                        {"labels", {{2}, std::vector<std::int64_t>{7, 8}}}};
  for (const bool compress : {false, true}) {
    write_npz(folder / "a.npz", file, compress);
    const NpzFile back = read_npz(folder / "a.npz");
    ASSERT_EQ(back.size(), 2u);
    EXPECT_TRUE(back.at("x").values == file.at("x").values);
    EXPECT_TRUE(back.at("labels").values == file.at("labels").values);
    write_npz(folder / "b.npz", file, compress);
    EXPECT_EQ(read_file(folder / "a.npz"), read_file(folder / "b.npz"));
  }
}

TEST(Npz, EveryCutThrowsAndFlippedDataIsCaughtByTheCrc) {
  const TempFolder folder;
  const NpzFile file = {{"x", floats({2, 2}, {1, 2, 3, 4})}};
  for (const bool compress : {false, true}) {
    write_npz(folder / "a.npz", file, compress);
    const auto good = read_file(folder / "a.npz");
    for (std::size_t size = 0; size < good.size(); size += 3) {
      const auto cut =
          folder.put("cut.npz", {good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)});
      EXPECT_MESSAGE(read_npz(cut), "npz: ") << size;
    }
    for (std::size_t i = 0; i < good.size(); ++i) {
      auto bad = good;
      bad[i] ^= 0x24;
      const auto path = folder.put("bad.npz", bad);
      message_of([&] { read_npz(path); });  // throws DataError or reads; nothing else
    }
    auto bad = good;
    bad[60] ^= 1;
    EXPECT_MESSAGE(read_npz(folder.put("crc.npz", bad)), "npz: corrupted data in 'x'");
  }
}

// As numpy writes them: header text and values by hand.
NpyArray parsed(const std::string& descr,
                const std::string& fortran,
                const std::string& shape,
                std::vector<std::uint8_t> values) {
  std::string text =
      "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
  std::vector<std::uint8_t> bytes = {
      0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<std::uint8_t>(text.size()), 0};
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.insert(bytes.end(), values.begin(), values.end());
  return parse_npy(bytes, "a.npy");
}

TEST(Npy, FortranOrderBecomesC) {
  // np.asfortranarray([[1, 2, 3], [4, 5, 6]]): columns lie together.
  const NpyArray a = parsed("|u1", "True", "(2, 3)", {1, 4, 2, 5, 3, 6});
  EXPECT_EQ(std::get<std::vector<std::uint8_t>>(a.values), (std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6}));
  // Three axes: [k][j][i] in the file is [i][j][k] in memory, shape (2, 1, 2) of 16-bit values.
  const NpyArray b = parsed("<i2", "True", "(2, 1, 2)", {1, 0, 2, 0, 3, 0, 4, 0});
  EXPECT_EQ(std::get<std::vector<std::int32_t>>(b.values), (std::vector<std::int32_t>{1, 3, 2, 4}));
}

TEST(Npy, OtherTypesBecomeTheNearestKept) {
  EXPECT_EQ(std::get<std::vector<std::uint8_t>>(parsed("|b1", "False", "(2,)", {0, 1}).values),
            (std::vector<std::uint8_t>{0, 1}));
  EXPECT_EQ(std::get<std::vector<std::int32_t>>(parsed("<u2", "False", "(1,)", {0xff, 0xff}).values)[0],
            65535);
  EXPECT_EQ(std::get<std::vector<std::int32_t>>(parsed("|i1", "False", "(1,)", {0xff}).values)[0], -1);
  EXPECT_EQ(std::get<std::vector<std::int32_t>>(parsed(">i2", "False", "(1,)", {1, 2}).values)[0], 258);
  EXPECT_EQ(
      std::get<std::vector<double>>(parsed("<f8", "False", "(1,)", {0, 0, 0, 0, 0, 0, 0xf8, 0x3f}).values)[0],
      1.5);
  // Half precision: 1, -2, the smallest above zero.
  EXPECT_EQ(std::get<std::vector<float>>(parsed("<f2", "False", "(3,)", {0, 0x3c, 0, 0xc0, 1, 0}).values),
            (std::vector<float>{1.f, -2.f, 0x1p-24f}));
  EXPECT_EQ(
      std::get<std::vector<std::string>>(
          parsed("<U2", "False", "(2,)", {'a', 0, 0, 0, 0, 0, 0, 0, 0xe9, 0, 0, 0, 'b', 0, 0, 0}).values),
      (std::vector<std::string>{"a",
                                "\xC3\xA9"
                                "b"}));
  EXPECT_EQ(std::get<std::vector<std::string>>(parsed("|S3", "False", "(1,)", {'c', 'a', 't'}).values)[0],
            "cat");
}

}  // namespace
}  // namespace offramp::data
