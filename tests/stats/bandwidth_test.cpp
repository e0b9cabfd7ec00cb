#include "stats/bandwidth.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>
#include <vector>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

// x_i = 10 [i mod 3 = 0] + sqrt(-2 ln u) cos(2 pi v), u and v from a 48-bit linear congruence; any language
// can repeat it (docs/results/stats.md has the Python lines that gave KDEpy's value).
std::vector<double> portable_sample(std::size_t n) {
  std::uint64_t state = 1;
  const auto next = [&] {
    state = (state * 25214903917ull + 11) & ((1ull << 48) - 1);
    return (static_cast<double>(state) + 0.5) / static_cast<double>(1ull << 48);
  };
  std::vector<double> x;
  for (std::size_t i = 0; i < n; ++i) {
    const double u = next(), v = next();
    x.push_back((i % 3 == 0 ? 10 : 0) + std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v));
  }
  return x;
}

TEST(Bandwidth, RulesOfThumbByHand) {
  const std::vector<double> x = {1, 2, 3, 4, 10};
  // mean 4, squares 50, sd sqrt(12.5); quartiles 2 and 4; n^(-1/5) = 5^-0.2
  const double root = std::pow(5, -0.2), rounding = 1e-15 * 10;
  EXPECT_NEAR(silverman_bandwidth(x), 0.9 * (2 / 1.34) * root, rounding);
  EXPECT_NEAR(scott_bandwidth(x), std::pow(4. / 3, 0.2) * std::sqrt(12.5) * root, rounding);
}

TEST(Bandwidth, SilvermanUsesTheDeviationWhenTheQuartilesCoincide) {
  const std::vector<double> x = {1, 1, 1, 1, 1, 1, 1, 5};
  EXPECT_NEAR(silverman_bandwidth(x), 0.9 * sample_sd(x) * std::pow(8, -0.2), 1e-15);
}

TEST(Bandwidth, PlugInRulesSeeTheModesAndNotTheirDistance) {
  const std::vector<double> x = portable_sample(3000);
  // Optimal for the larger mode alone (normal, n = 2000) is 1.06 * 2000^-0.2 = 0.232; Silverman gives 4 times
  // that.
  const double alone = 1.06 * std::pow(2000, -0.2);
  EXPECT_GT(silverman_bandwidth(x), 3 * alone);
  for (const double h : {isj_bandwidth(x), sheather_jones_bandwidth(x)}) {
    EXPECT_GT(h, 0.7 * alone);
    EXPECT_LT(h, 1.5 * alone);
  }
}

TEST(Bandwidth, IsjMeetsThePublicImplementationsFixedPoint) {
  // KDEpy's improved_sheather_jones gives 0.13032167697895206 and 0.16203935058215033 on these samples. It
  // solves on a grid of twice the data's range here (margins of half the range) but scales by the range:
  // twice that is meant. Its 2^10 and our 2^14 cells on different grids round the fixed point by a few cells
  // of 1/1000.
  EXPECT_NEAR(isj_bandwidth(portable_sample(3000)), 2 * 0.13032167697895206, 2e-3);
  EXPECT_NEAR(isj_bandwidth(portable_sample(800)), 2 * 0.16203935058215033, 2e-3);
}

TEST(Bandwidth, AllRulesFollowShiftScaleAndIgnoreOrder) {
  const std::vector<double> x = portable_sample(800);
  std::vector<double> y;
  for (const double v : x) y.push_back(4096 + 8 * v);
  std::reverse(y.begin(), y.end());
  for (double (*rule)(std::span<const double>) :
       {silverman_bandwidth, scott_bandwidth, sheather_jones_bandwidth, isj_bandwidth}) {
    // Values near 4096 are rounded at 2^-41 of the spread; cells may change for a sample on an edge.
    EXPECT_NEAR(rule(y) / rule(x), 8, 8e-4);
  }
}

TEST(Bandwidth, QuantilesInterpolateLinearly) {
  const std::vector<double> x = {1, 2, 4, 8};
  EXPECT_EQ(sorted_quantile(x, 0), 1);
  EXPECT_EQ(sorted_quantile(x, 1), 8);
  EXPECT_EQ(sorted_quantile(x, 0.5), 3);
  EXPECT_EQ(sorted_quantile(x, 0.25), 1.75);
}

TEST(Bandwidth, BadInputIsNamed) {
  const std::vector<double> none, equal(10, 3.0), nan = {1, std::nan("")};
  EXPECT_MESSAGE(silverman_bandwidth(none), "silverman_bandwidth: the sample must hold at least one value");
  EXPECT_MESSAGE(scott_bandwidth(equal), "scott_bandwidth: all 10 values are equal");
  EXPECT_MESSAGE(isj_bandwidth(nan), "the sample must be finite, got nan at index 1");
  EXPECT_MESSAGE(sheather_jones_bandwidth(std::vector<double>{2}), "all 1 values are equal");
}

}  // namespace
}  // namespace offramp::stats
