// What must not depend on the unit a user measures in, on integers or floats, on a far outlier or on rounded
// scores: the traps of other tools (docs/reference/beside-other-tools.md), tried on ours.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "stats/bandwidth.h"
#include "stats/divergences.h"
#include "stats/exits/exit_estimation.h"
#include "stats/exits/valleys.h"
#include "stats/hypothesis_tests.h"
#include "stats/intervals.h"
#include "stats/roc.h"
#include "tests/support/noise_models.h"

namespace offramp::stats {
namespace {

constexpr double kUnits[] = {1e-3, 1e-6, 1e-9, 1e3};  // nanoseconds told in us, ms and s; picoseconds
constexpr double kInvarianceRounding = 1e-9;          // of a scaled sample, relative, far below any noise

std::vector<double> scaled(std::vector<double> values, double factor) {
  for (double& v : values) v *= factor;
  return values;
}

std::vector<double> drawn(std::size_t n, double mean, double sd, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal(mean, sd);
  std::vector<double> out(n);
  for (double& v : out) v = normal(rng);
  return out;
}

TEST(Invariance, TestsOfHypothesesDoNotSeeTheUnit) {
  const std::vector<double> a = drawn(40, 1000, 30, 1), b = drawn(40, 1010, 30, 2);
  for (const double unit : kUnits) {
    const auto x = scaled(a, unit), y = scaled(b, unit);
    EXPECT_EQ(sign_test(x, y).p_value, sign_test(a, b).p_value) << unit;
    EXPECT_EQ(wilcoxon_signed_rank(x, y).p_value, wilcoxon_signed_rank(a, b).p_value) << unit;
    EXPECT_NEAR(welch_t_test(x, y).p_value, welch_t_test(a, b).p_value, kInvarianceRounding) << unit;
    const Interval here = mean_interval(x), there = mean_interval(a);
    EXPECT_NEAR(here.low / unit, there.low, kInvarianceRounding * there.low) << unit;
    EXPECT_NEAR(here.high / unit, there.high, kInvarianceRounding * there.high) << unit;
    EXPECT_EQ(repetitions_to_distinguish(5 * unit, 3 * unit), 22u) << unit;
  }
}

TEST(Invariance, BandwidthsFollowTheUnit) {
  std::vector<double> modes = drawn(500, 40000, 300, 3);
  const std::vector<double> more = drawn(500, 55000, 300, 4);
  modes.insert(modes.end(), more.begin(), more.end());
  for (const double unit : kUnits) {
    const auto x = scaled(modes, unit);
    EXPECT_NEAR(isj_bandwidth(x) / unit, isj_bandwidth(modes), 1e-6 * isj_bandwidth(modes)) << unit;
    EXPECT_NEAR(sheather_jones_bandwidth(x) / unit,
                sheather_jones_bandwidth(modes),
                1e-2 * sheather_jones_bandwidth(modes))  // its bins of 1/1000 move by a cell
        << unit;
    EXPECT_NEAR(silverman_bandwidth(x) / unit, silverman_bandwidth(modes), kInvarianceRounding * 1e3) << unit;
  }
}

void expect_same_exits(const ExitEstimate& got, const ExitEstimate& want, double unit) {
  EXPECT_EQ(got.num_exits, want.num_exits);
  EXPECT_EQ(got.exits, want.exits);
  ASSERT_EQ(got.thresholds_ns.size(), want.thresholds_ns.size());
  for (std::size_t k = 0; k < want.thresholds_ns.size(); ++k)
    EXPECT_NEAR(got.thresholds_ns[k] / unit, want.thresholds_ns[k], want.sigma_ns / 100);
  EXPECT_NEAR(got.sigma_ns / unit, want.sigma_ns, 1e-6 * want.sigma_ns);
}

TEST(Invariance, ExitsDoNotSeeTheUnit) {
  const test::Times times = test::draw_times({}, 1500, 5, 7);
  for (const auto method : {EstimationMethod::kDensity, EstimationMethod::kChangepoints}) {
    EstimationOptions options;
    options.method = method;
    const ExitEstimate want = estimate_exits(times.ns, 5, options);
    EXPECT_EQ(want.num_exits, 4u);
    for (const double unit : {1e-3, 1e-6, 1e3}) {
      SCOPED_TRACE(testing::Message() << "unit " << unit << " method " << static_cast<int>(method));
      expect_same_exits(estimate_exits(scaled(times.ns, unit), 5, options), want, unit);
    }
  }
  // A given noise is told in the same unit.
  EstimationOptions options;
  options.sigma_ns = 8000;
  const ExitEstimate want = estimate_exits(times.ns, 5, options);
  options.sigma_ns = 8;
  expect_same_exits(estimate_exits(scaled(times.ns, 1e-3), 5, options), want, 1e-3);
}

TEST(Invariance, ExitsOfWholeNanosecondsAreThoseOfFractions) {
  const test::Times times = test::draw_times({}, 1500, 5, 8);
  std::vector<double> whole = times.ns;
  for (double& v : whole) v = std::round(v);
  const ExitEstimate a = estimate_exits(times.ns, 5), b = estimate_exits(whole, 5);
  EXPECT_EQ(a.num_exits, b.num_exits);
  EXPECT_EQ(a.exits, b.exits);
}

// One value a minute behind the rest: its own valley comes, the others stay where they are.
TEST(Invariance, AFarOutlierMovesNoOtherValley) {
  std::vector<double> sorted = drawn(400, 20000, 150, 9);
  const std::vector<double> second = drawn(400, 22000, 150, 10);
  sorted.insert(sorted.end(), second.begin(), second.end());
  std::sort(sorted.begin(), sorted.end());
  constexpr double kBandwidth = 100;
  const DensityExtrema without = density_extrema(sorted, kBandwidth);
  sorted.push_back(1e6);
  const DensityExtrema with = density_extrema(sorted, kBandwidth);
  ASSERT_EQ(with.valleys.size(), without.valleys.size() + 1);
  ASSERT_EQ(with.bandwidth, kBandwidth);
  for (std::size_t k = 0; k < without.valleys.size(); ++k) {
    EXPECT_NEAR(with.valleys[k].x, without.valleys[k].x, kBandwidth / 100);
    EXPECT_NEAR(with.peaks[k].x, without.peaks[k].x, kBandwidth / 100);
  }
}

double counted_auc(const std::vector<double>& positive, const std::vector<double>& negative) {
  double wins = 0;
  for (const double p : positive)
    for (const double n : negative) wins += p > n ? 1 : p == n ? 0.5 : 0;
  return wins / static_cast<double>(positive.size() * negative.size());
}

// Ten bits of mantissa, as scores of half precision come in files.
double to_half(double v) {
  if (v == 0) return 0;
  int exponent = 0;
  std::frexp(v, &exponent);
  const double step = std::ldexp(1, std::max(exponent, -13) - 11);
  return std::round(v / step) * step;
}

TEST(Invariance, ScoresAreRankedAsTheyAreStored) {
  const std::vector<double> p = drawn(300, 40, 25, 11), n = drawn(200, 20, 25, 12);  // far outside [0, 1]
  const auto through = [](std::vector<double> v, auto f) {
    std::transform(v.begin(), v.end(), v.begin(), f);
    return v;
  };
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  const auto saturated = [&](double v) { return static_cast<double>(static_cast<float>(sigmoid(v))); };
  const auto half = [&](double v) { return to_half(sigmoid(v / 25)); };
  const auto same = [](double v) { return v; };
  const auto check = [&](auto f, const char* what) {
    const auto x = through(p, f), y = through(n, f);
    EXPECT_NEAR(roc_curve(x, y).auc, counted_auc(x, y), 1e-13) << what;
  };
  check(same, "as drawn");
  check(saturated, "saturated at 1");
  check(half, "half precision");
  EXPECT_LT(counted_auc(through(p, saturated), through(n, saturated)), counted_auc(p, n))
      << "ties there were";
  const Roc roc = roc_curve(p, n);
  for (const double unit : {1e-9, 0.5, 1e6}) {
    const Roc other = roc_curve(scaled(p, unit), scaled(n, unit));
    EXPECT_EQ(other.auc, roc.auc);
    EXPECT_EQ(tpr_at_fpr(other, 0.01), tpr_at_fpr(roc, 0.01));
  }
}

TEST(Invariance, ATieAtAThresholdIsDecidedAsTheStoredNumberSays) {
  const double threshold = 0.1 + 0.2;  // not 0.3
  EXPECT_EQ(exit_of_time(threshold, std::vector<double>{threshold}), 1u);
  EXPECT_EQ(exit_of_time(0.3, std::vector<double>{threshold}), 1u);
  EXPECT_EQ(exit_of_time(threshold, std::vector<double>{0.3}), 2u);
  // All with one score share one point of the curve: below it nothing is found, at it all is.
  const Roc roc = roc_curve(std::vector<double>{1, 1, 1}, std::vector<double>{1, 1, 0});
  ASSERT_EQ(roc.points.size(), 3u);
  EXPECT_EQ(tpr_at_fpr(roc, 0.5), 0);
  EXPECT_EQ(tpr_at_fpr(roc, 2.0 / 3), 1);
}

TEST(Invariance, NearlyEqualDistributionsDivergeByNothing) {
  const std::vector<double> p = {0.1, 0.2, 0.3, 0.4};
  for (const double by : {0.0, 1e-16, 3e-16, 1e-15, 1e-12}) {
    for (std::size_t at = 0; at < p.size(); ++at) {
      std::vector<double> q = p;
      q[at] *= 1 + by;
      const double js = js_divergence(p, q);
      EXPECT_GE(js, 0) << by;  // false for NaN, too
      EXPECT_LT(js, 1e-15) << by;
      EXPECT_GE(std::sqrt(js), 0) << by;
    }
  }
  EXPECT_EQ(js_divergence(p, p), 0);
}

}  // namespace
}  // namespace offramp::stats
