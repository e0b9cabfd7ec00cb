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
                                        {{0, 4}, std::vector<float>{}}};
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
  EXPECT_MESSAGE(parse(bad), "npy: expected 24 bytes of values, found 23 (a.npy, byte 128)");
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
  EXPECT_MESSAGE(replaced("<f4", "<f8"), "expected type <f4, <i4, |u1 or <i8, found '<f8'");
  EXPECT_MESSAGE(replaced("<f4", "<f2"), "expected type <f4, <i4, |u1 or <i8, found '<f2'");
  EXPECT_MESSAGE(replaced("<f4", ">f4"), "expected type <f4, <i4, |u1 or <i8, found '>f4'");
  EXPECT_MESSAGE(replaced("False", "True "), "found Fortran order");
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
    EXPECT_MESSAGE(read_npz(folder.put("crc.npz", bad)), "npz: corrupted data in 'x.npy'");
  }
}

TEST(Npz, ImagesAndTablesBecomeSets) {
  const TempFolder folder;
  const NpyArray pixels{{2, 2, 3}, std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
  write_npz(folder / "i.npz", {{"images", pixels}, {"labels", {{2}, std::vector<std::int64_t>{2, 0}}}}, true);
  const auto images = std::get<ImageSet>(read_npz_dataset(folder / "i.npz", "all"));
  EXPECT_EQ(images.h, 2);
  EXPECT_EQ(images.w, 3);
  EXPECT_EQ(images.c, 1);
  EXPECT_EQ(images.labels, (std::vector<std::int32_t>{2, 0}));
  EXPECT_EQ(images.num_classes(), 3);
  EXPECT_MESSAGE(read_npz_dataset(folder / "i.npz", "train"),
                 "expected an array 'train_labels', found: images, labels");
  write_npz(
      folder / "t.npz",
      {{"test_features", floats({2, 1}, {.5f, 2})}, {"test_labels", {{2}, std::vector<std::int32_t>{0, 1}}}},
      false);
  EXPECT_EQ(std::get<TableSet>(read_npz_dataset(folder / "t.npz", "test")).row(1)[0], 2.f);
  write_npz(
      folder / "n.npz", {{"images", pixels}, {"labels", {{2}, std::vector<std::int32_t>{0, -1}}}}, false);
  EXPECT_MESSAGE(read_npz_dataset(folder / "n.npz", "all"), "expected whole numbers from 0 as labels");
  write_npz(
      folder / "m.npz", {{"images", pixels}, {"labels", {{3}, std::vector<std::int32_t>{0, 1, 1}}}}, false);
  EXPECT_MESSAGE(read_npz_dataset(folder / "m.npz", "all"), "expected 2 labels in 'labels'");
}

}  // namespace
}  // namespace offramp::data
