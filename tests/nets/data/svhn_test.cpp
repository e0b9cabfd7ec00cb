#include "nets/data/svhn.h"

#include <cstring>
#include <fstream>
#include <iterator>

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

const std::filesystem::path kSeeds =
    std::filesystem::path(OFFRAMP_SOURCE_DIR) / "tests" / "fuzz" / "corpus" / "svhn";

TEST(Svhn, ColumnMajorArraysBecomeNhwcAndTenIsZero) {
  for (const char* name :
       {"plain", "compressed"}) {  // labels as uint8, and int64 as scipy writes numpy's integers
    const ImageSet set = read_svhn(kSeeds / name);
    ASSERT_EQ(set.n, 2);
    EXPECT_EQ(set.labels, (std::vector<std::int32_t>{0, 3}));
    const int row = 2, col = 3, ch = 1, image = 1;
    EXPECT_EQ(set.image(image)[(row * 4 + col) * 3 + ch], row + 4 * col + 16 * ch + 48 * image);
  }
}

TEST(Svhn, EveryCutAndEveryFlippedBitOfCompressedValuesIsNamed) {
  const auto good = read_file(kSeeds / "compressed");
  const ImageSet want = parse_svhn(good, "x");
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_MESSAGE(parse_svhn(std::span(good).first(size), "x"), ": ") << size;
  for (std::size_t i = 128; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= 0x10;
    try {
      EXPECT_EQ(parse_svhn(bad, "x").pixels, want.pixels) << i;
    } catch (const DataError&) {  // named
    }
  }
}

TEST(Svhn, FilesOfVersion73AreCalledThat) {
  std::vector<std::uint8_t> bytes(600, 0);
  const std::string text = "MATLAB 7.3 MAT-file, written by Python";
  std::memcpy(bytes.data(), text.data(), text.size());
  EXPECT_MESSAGE(parse_svhn(bytes, "x.mat"), "found version 7.3 (HDF5), which is not read");
  bytes.assign(600, 0);
  std::memcpy(bytes.data(), "\x89HDF\r\n\x1a\n", 8);
  EXPECT_MESSAGE(parse_svhn(bytes, "x.mat"), "version 7.3");
}

TEST(Svhn, AbsentFilesAndOtherFilesAreRefused) {
  const TempFolder folder;
  EXPECT_MESSAGE(read_svhn(folder / "none.mat"), "expected a file, found nothing");
  EXPECT_MESSAGE(parse_svhn(std::vector<std::uint8_t>(300, 7), "junk.mat"), "expected a MATLAB file");
}

}  // namespace
}  // namespace offramp::data
