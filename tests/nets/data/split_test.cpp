#include "nets/data/split.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "nets/data/streams.h"
#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

TEST(Permutation, HoldsEveryIndexOnceAndDependsOnEveryKeyPart) {
  const auto p = permutation(1000, 7, kShuffleStream, 3);
  auto sorted = p;
  std::ranges::sort(sorted);
  std::vector<std::int32_t> all(1000);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(sorted, all);
  EXPECT_EQ(p, permutation(1000, 7, kShuffleStream, 3));
  EXPECT_NE(p, permutation(1000, 8, kShuffleStream, 3));
  EXPECT_NE(p, permutation(1000, 7, kHeldOutStream, 3));
  EXPECT_NE(p, permutation(1000, 7, kShuffleStream, 4));
  EXPECT_TRUE(permutation(0, 7, kShuffleStream, 0).empty());
  EXPECT_EQ(permutation(1, 7, kShuffleStream, 0), std::vector<std::int32_t>{0});
}

TEST(Permutation, AllOrdersOfFourAreEquallyLikely) {
  std::vector<int> counts(256);
  const int draws = 24000;
  for (int s = 0; s < draws; ++s) {
    const auto p = permutation(4, 11, kShuffleStream, static_cast<std::uint32_t>(s));
    ++counts[static_cast<std::size_t>(p[0] * 64 + p[1] * 16 + p[2] * 4 + p[3])];
  }
  // Chi-square with 23 degrees of freedom: mean 23, standard deviation sqrt(46); six of them above is no
  // chance.
  double chi = 0;
  int seen = 0;
  for (const int c : counts)
    if (c > 0) {
      ++seen;
      chi += (c - 1000.) * (c - 1000.) / 1000;
    }
  EXPECT_EQ(seen, 24);
  EXPECT_LT(chi, 23 + 6 * std::sqrt(46.));
}

TEST(HeldOut, PartsAreDisjointAndTogetherAll) {
  const HeldOut parts = split_held_out(50, 20, 1);
  EXPECT_EQ(parts.train.size(), 30u);
  EXPECT_EQ(parts.held_out.size(), 20u);
  auto both = parts.train;
  both.insert(both.end(), parts.held_out.begin(), parts.held_out.end());
  std::ranges::sort(both);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(both[static_cast<std::size_t>(i)], i);
  EXPECT_TRUE(split_held_out(5, 0, 1).held_out.empty());
  EXPECT_TRUE(split_held_out(5, 5, 1).train.empty());
  EXPECT_MESSAGE(split_held_out(5, 6, 1), "split: expected 0..5 held-out samples, asked for 6");
}

}  // namespace
}  // namespace offramp::data
