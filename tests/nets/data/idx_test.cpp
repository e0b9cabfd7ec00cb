#include "nets/data/idx.h"

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

std::vector<std::uint8_t> images_file() {  // two images of 3 rows and 2 columns
  std::vector<std::uint8_t> file = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2};
  for (std::uint8_t i = 0; i < 12; ++i) file.push_back(static_cast<std::uint8_t>(10 + i));
  return file;
}
std::vector<std::uint8_t> labels_file() { return {0, 0, 8, 1, 0, 0, 0, 2, 1, 0}; }

TEST(Idx, ReadsPlainAndGzipAlike) {
  const TempFolder folder;
  const auto plain = folder.put("i", images_file()), packed = folder.put("i.gz", gzip(images_file()));
  const auto labels = folder.put("l.gz", gzip(labels_file()));
  for (const auto& path : {plain, packed}) {
    const ImageSet set = read_idx_images(path, labels, {"a", "b"});
    EXPECT_EQ(set.n, 2);
    EXPECT_EQ(set.h, 3);
    EXPECT_EQ(set.w, 2);
    EXPECT_EQ(set.c, 1);
    EXPECT_EQ(set.image(1)[0], 16);
    EXPECT_EQ(set.labels, (std::vector<std::int32_t>{1, 0}));
  }
}

TEST(Idx, WrongMagicNamesBothAndTheFile) {
  const TempFolder folder;
  const auto labels = folder.put("l", labels_file());
  EXPECT_MESSAGE(read_idx(labels, 3), "idx: expected magic 0x00000803, found 0x00000801");
  EXPECT_MESSAGE(read_idx(labels, 3), labels.string() + ", byte 0");
}

TEST(Idx, CountsMustFitTheFileExactly) {
  const TempFolder folder;
  auto file = images_file();
  file.pop_back();
  EXPECT_MESSAGE(read_idx(folder.put("short", file), 3), "expected 12 bytes of elements, found 11");
  file = images_file();
  file.push_back(0);
  EXPECT_MESSAGE(read_idx(folder.put("long", file), 3), "1 bytes after the last element");
  EXPECT_MESSAGE(read_idx(folder.put("long", file), 3), "byte 28");
  file = images_file();
  file[4] = 0x7f;  // two thousand million images
  EXPECT_MESSAGE(read_idx(folder.put("lie", file), 3), "the sizes ask for more elements");
  file = images_file();
  file[7] = 0;
  EXPECT_MESSAGE(read_idx(folder.put("zero", file), 3), "expected a size in 1..2^31-1, found 0");
  file.resize(6);
  EXPECT_MESSAGE(read_idx(folder.put("head", file), 3), "expected 4 bytes of sizes, found 2");
}

TEST(Idx, LabelsMustAgreeInNumberAndRange) {
  const TempFolder folder;
  const auto images = folder.put("i", images_file());
  EXPECT_MESSAGE(read_idx_images(images, folder.put("l", {0, 0, 8, 1, 0, 0, 0, 3, 0, 1, 0}), {"a", "b"}),
                 "expected 2 labels as there are images, found 3");
  const auto labels = folder.put("m", {0, 0, 8, 1, 0, 0, 0, 2, 0, 2});
  EXPECT_MESSAGE(read_idx_images(images, labels, {"a", "b"}), "expected a label in 0..1, found 2");
  EXPECT_MESSAGE(read_idx_images(images, labels, {"a", "b"}), "byte 9");
}

TEST(Gzip, DamageIsNamedWithItsByte) {
  const TempFolder folder;
  std::vector<std::uint8_t> plain(5000);
  for (std::size_t i = 0; i < plain.size(); ++i) plain[i] = static_cast<std::uint8_t>(i * i >> 3);
  const auto good = gzip(plain);
  EXPECT_EQ(read_file_or_gz(folder.put("good", good)), plain);

  auto cut = good;
  cut.resize(good.size() / 2);
  EXPECT_MESSAGE(read_file_or_gz(folder.put("cut", cut)), "the file is truncated");
  auto flipped = good;
  flipped[good.size() - 6] ^= 0x10;  // inside the stored CRC
  EXPECT_MESSAGE(read_file_or_gz(folder.put("crc", flipped)), "gzip: corrupted data: incorrect data check");
  auto trailing = good;
  trailing.insert(trailing.end(), {1, 2, 3});
  EXPECT_MESSAGE(read_file_or_gz(folder.put("tail", trailing)), "3 bytes after the end of the data");
  auto twice = good;
  twice.insert(twice.end(), good.begin(), good.end());  // two members are one file
  EXPECT_EQ(read_file_or_gz(folder.put("twice", twice)).size(), 2 * plain.size());
  EXPECT_MESSAGE(read_file_or_gz(folder / "none"), "read: expected a file, found nothing");
  EXPECT_MESSAGE(read_file_or_gz(folder.path()), "found a folder");
}

TEST(Gzip, AnyCutOrFlippedByteThrowsOrGivesTheSameBytes) {
  const TempFolder folder;
  std::vector<std::uint8_t> plain(300);
  for (std::size_t i = 0; i < plain.size(); ++i) plain[i] = static_cast<std::uint8_t>(i % 7 * 31);
  const auto good = gzip(plain);
  int thrown = 0;
  for (std::size_t i = 2; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= 0x41;
    try {
      EXPECT_EQ(read_file_or_gz(folder.put("bad", bad)), plain) << "byte " << i;  // name, time and OS bytes
    } catch (const DataError&) {
      ++thrown;
    }
  }
  EXPECT_GT(thrown, static_cast<int>(good.size()) - 14);
}

}  // namespace
}  // namespace offramp::data
