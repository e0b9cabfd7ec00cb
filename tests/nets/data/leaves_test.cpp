#include "nets/data/leaves.h"

#include <cmath>
#include <set>

#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

TEST(Leaves, APictureDependsOnSeedAndIndexOnly) {
  const ImageSet all = synthetic_leaves(70, 32, 5, 0, 3), part = synthetic_leaves(3, 32, 5, 40, 1);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(std::ranges::equal(all.image(40 + i), part.image(i))) << i;
  const ImageSet other = synthetic_leaves(1, 32, 6, 40, 1);
  EXPECT_FALSE(std::ranges::equal(other.image(0), part.image(0)));
}

// Guards the promise "the same bits on every machine": a hash of the first 100 pictures of seed 1.
TEST(Leaves, BitsAreThoseOfTheFirstRelease) {
  const ImageSet set = synthetic_leaves(100, 32, 1);
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::uint8_t v : set.pixels) hash = (hash ^ v) * 0x100000001b3u;
  EXPECT_EQ(hash, 0x44a8412c897b2021u) << std::hex << hash;
}

TEST(Leaves, PicturesDifferAndUseTheRange) {
  const ImageSet set = synthetic_leaves(2000, 32, 1);
  std::set<std::uint64_t> distinct;
  double sum = 0, contrast = 0;
  for (int i = 0; i < set.n; ++i) {
    const auto image = set.image(i);
    std::uint64_t hash = 0;
    for (const std::uint8_t v : image) hash = (hash ^ v) * 0x100000001b3u;
    distinct.insert(hash);
    double s = 0, q = 0;
    for (const std::uint8_t v : image) {
      s += v;
      q += static_cast<double>(v) * v;
    }
    const double mean = s / 3072;
    sum += mean;
    contrast += std::sqrt(std::max(0.0, q / 3072 - mean * mean));
  }
  EXPECT_EQ(distinct.size(), 2000u);
  // Natural sets (training.md section 1): mean .28-.51, standard deviation .20-.28 of the range over all
  // pixels; within one picture it is smaller.
  EXPECT_GT(sum / set.n, .3 * 255);
  EXPECT_LT(sum / set.n, .6 * 255);
  EXPECT_GT(contrast / set.n, .1 * 255);
}

// Natural pictures: neighbours are alike, and likeness falls with distance.
TEST(Leaves, NeighboursAreCorrelatedLessSoFurtherAway) {
  const ImageSet set = synthetic_leaves(500, 32, 3);
  const auto correlation = [&](int gap) {
    double sx = 0, sxx = 0, sxy = 0, n = 0;
    for (int i = 0; i < set.n; ++i)
      for (int y = 0; y < 32; ++y)
        for (int x = 0; x + gap < 32; ++x) {
          const double a = set.image(i)[static_cast<std::size_t>((y * 32 + x) * 3 + 1)],
                       b = set.image(i)[static_cast<std::size_t>((y * 32 + x + gap) * 3 + 1)];
          sx += (a + b) / 2;
          sxx += (a * a + b * b) / 2;
          sxy += a * b;
          n += 1;
        }
    const double mean = sx / n;
    return (sxy / n - mean * mean) / (sxx / n - mean * mean);
  };
  const double near = correlation(1), middle = correlation(4), far = correlation(16);
  EXPECT_GT(near, .8);
  EXPECT_GT(near, middle);
  EXPECT_GT(middle, far);
}

TEST(Leaves, WrongSizesAreRefused) {
  EXPECT_MESSAGE(synthetic_leaves(0, 32, 1), "synthetic:leaves: expected 1..10000000 pictures, asked for 0");
  EXPECT_MESSAGE(synthetic_leaves(1, 4, 1), "expected a side of 8..1024 pixels, asked for 4");
}

}  // namespace
}  // namespace offramp::data
