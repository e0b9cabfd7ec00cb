#include "stats/exits/exit_estimation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "stats/exits/valleys.h"
#include "tests/stats/expect_message.h"
#include "tests/support/noise_models.h"

namespace offramp::stats {
namespace {

using test::draw_times;
using test::Noise;
using test::share_equal;
using test::TimeModel;
using test::Times;

TEST(Valleys, CheckValuesOfTheSpec) {  // specs/extraction.md 2.3: maxima 2.199, 7.100, minimum 4.742
  const std::vector<double> t = {1, 2, 2.5, 7, 7.2};
  const DensityExtrema e = density_extrema(t, 0.5);
  ASSERT_EQ(e.valleys.size(), 1u);
  ASSERT_EQ(e.peaks.size(), 2u);
  constexpr double kHalfDigit = 5e-4;
  EXPECT_NEAR(e.peaks[0].x, 2.199, kHalfDigit);
  EXPECT_NEAR(e.peaks[1].x, 7.100, kHalfDigit);
  EXPECT_NEAR(e.valleys[0].x, 4.742, kHalfDigit);
  EXPECT_EQ(e.bandwidth, 0.5);
}

TEST(Valleys, EmptyStretchesCountOnceAtTheirMiddle) {
  const std::vector<double> t = {0, 1, 1000, 5000, 5000.5};
  const DensityExtrema e = density_extrema(t, 1);
  ASSERT_EQ(e.valleys.size(), 2u);
  EXPECT_EQ(e.valleys[0].x, 500.5);
  EXPECT_EQ(e.valleys[1].x, 3000);
  EXPECT_EQ(e.valleys[0].f, 0);
}

TEST(Valleys, OneFarValueLeavesTheOthersWhereTheyAre) {  // findings/statsmodels-kde-far-outlier.sh
  std::vector<double> t;
  for (int exit = 1; exit <= 3; ++exit) {
    for (int i = -500; i <= 500; ++i) t.push_back(exit + i * 4e-5);
  }
  const DensityExtrema alone = density_extrema(t, 0.025);
  ASSERT_EQ(alone.peaks.size(), 3u);
  const double share = static_cast<double>(t.size()) / static_cast<double>(t.size() + 1);
  for (const double far : {10.0, 1000.0, 1e9}) {
    std::vector<double> with = t;
    with.push_back(far);
    const DensityExtrema e = density_extrema(with, 0.025);
    EXPECT_EQ(e.bandwidth, 0.025);
    ASSERT_EQ(e.peaks.size(), 4u) << far;
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(e.peaks[i].x, alone.peaks[i].x) << far;
      EXPECT_NEAR(e.peaks[i].f, share * alone.peaks[i].f, 1e-12) << far;
    }
    EXPECT_EQ(e.valleys[0].x, alone.valleys[0].x);
    EXPECT_EQ(e.valleys[1].x, alone.valleys[1].x);
    EXPECT_EQ(e.peaks[3].x, far);
  }
}

TEST(Valleys, PruningRemovesTheWorstFirstAndMergesOverTheHigherValley) {
  DensityExtrema e;
  e.peaks = {{1, 10}, {3, 4}, {5, 9}, {7, 8}};
  e.valleys = {{2, 3}, {4, 1}, {6, 5}};
  const std::vector<double> sorted = {1, 1, 1, 1, 3, 5, 5, 5, 7, 7};
  DensityExtrema by_ratio = e;
  prune_valleys(by_ratio, sorted, 0.5, 0);
  // 3/4 goes first, 5/8 next; then 1/9 is all that is left.
  ASSERT_EQ(by_ratio.valleys.size(), 1u);
  EXPECT_EQ(by_ratio.valleys[0].x, 4);
  EXPECT_EQ(by_ratio.peaks[0].x, 1);
  EXPECT_EQ(by_ratio.peaks[1].x, 5);
  DensityExtrema by_share = e;
  merge_small_clusters(by_share, sorted, 0.15);  // the cluster at 3 holds one of ten
  ASSERT_EQ(by_share.valleys.size(), 2u);
  EXPECT_EQ(by_share.valleys[0].x, 4);
  keep_prominent_valleys(e, 2);
  ASSERT_EQ(e.valleys.size(), 2u);
  EXPECT_EQ(e.valleys[0].x, 4);
  EXPECT_EQ(e.valleys[1].x, 6);
}

TEST(Valleys, ARangeOfTooManyBandwidthsWidensTheBandwidth) {
  std::vector<double> t;
  for (int i = 0; i < 3000; ++i) t.push_back(i * 20.0);
  const DensityExtrema e = density_extrema(t, 1);
  EXPECT_GT(e.bandwidth, 1);
  EXPECT_EQ(e.bandwidth, std::exp2(std::round(std::log2(e.bandwidth))));
}

// Exit shares of specs/extraction.md 2.2: five mixes down to 1-2 % per exit.
const std::vector<std::vector<double>> kMixes = {
    {.25, .25, .25, .25}, {.4, .3, .2, .1}, {.1, .2, .3, .4}, {.94, .02, .02, .02}, {.01, .6, .38, .01}};

TEST(ExitEstimation, FindsFourExitsFromSixSigmaOnInEveryMix) {
  for (const double sigmas : {6.0, 8.0, 12.0}) {
    std::size_t right = 0;
    double worst = 1;
    for (std::size_t mix = 0; mix < kMixes.size(); ++mix) {
      for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        TimeModel model{.share = kMixes[mix]};
        constexpr std::size_t kRepetitions = 10;
        // The mean of ten has sigma / sqrt(10).
        model.gap_ns = sigmas * model.sigma_ns / std::sqrt(10.0);
        const Times t = draw_times(model, 3000, kRepetitions, 100 * seed + mix);
        const ExitEstimate r = estimate_exits(t.ns, kRepetitions, {.statistic = TimeStatistic::kMean});
        right += r.num_exits == 4 ? 1 : 0;
        worst = r.num_exits == 4 ? std::min(worst, share_equal(r.exits, t.true_exit)) : worst;
        EXPECT_NEAR(r.sigma_ns, model.sigma_ns / std::sqrt(10.0), 0.1 * r.sigma_ns);
      }
    }
    // The specification's own simulation: 15 of 15, accuracy 0.9985 at six sigma on average; half of the
    // optimal threshold's error at a gap of six sigma is 1 - Phi(3) = 0.00135 a side.
    EXPECT_EQ(right, 15u) << sigmas;
    EXPECT_GT(worst, sigmas < 7 ? 0.995 : 0.9985) << sigmas;
  }
}

TEST(ExitEstimation, SurvivesEveryNoiseModelAtTwelveSigma) {
  for (const Noise noise : {Noise::kQuiet, Noise::kBusy, Noise::kHeavyTail, Noise::kChannel}) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      TimeModel model{.noise = noise};
      model.gap_ns = 12 * model.sigma_ns;
      const Times t = draw_times(model, 2000, 10, seed);
      const ExitEstimate r = estimate_exits(t.ns, 10, {});
      EXPECT_EQ(r.num_exits, 4u) << "noise " << static_cast<int>(noise) << " seed " << seed << ": "
                                 << r.advice;
      EXPECT_GE(share_equal(r.exits, t.true_exit), 0.999);
      EXPECT_TRUE(r.reliable) << r.advice;
    }
  }
}

TEST(ExitEstimation, DriftIsReported) {
  TimeModel model{.noise = Noise::kDrift};
  model.gap_ns = 40 * model.sigma_ns;
  const Times t = draw_times(model, 2000, 10, 7);
  const ExitEstimate r = estimate_exits(t.ns, 10, {.statistic = TimeStatistic::kMean});
  EXPECT_EQ(r.num_exits, 4u);
  // Four sigma of one measurement are 4 sqrt(10) of the mean of ten.
  EXPECT_NEAR(r.drift_sigmas, 4 * std::sqrt(10.0), 2);
  EXPECT_NE(r.advice.find("the times drift by"), std::string::npos) << r.advice;
  EXPECT_FALSE(r.reliable);
}

TEST(ExitEstimation, ChangepointModeFindsTheExitsAtTwelveSigma) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    TimeModel model{.share = {.5, .3, .19, .01}};
    model.gap_ns = 12 * model.sigma_ns / std::sqrt(10.0);
    const Times t = draw_times(model, 1500, 10, seed);
    const ExitEstimate r = estimate_exits(
        t.ns, 10, {.method = EstimationMethod::kChangepoints, .statistic = TimeStatistic::kMean});
    EXPECT_EQ(r.num_exits, 4u) << "seed " << seed;
    EXPECT_GE(share_equal(r.exits, t.true_exit), 0.997);
  }
}

TEST(ExitEstimation, OneMeasurementEachStillWorksAndSaysSo) {
  TimeModel model;
  model.gap_ns = 10 * model.sigma_ns;
  const Times t = draw_times(model, 3000, 1, 4);
  const ExitEstimate r = estimate_exits(t.ns, 1, {});
  EXPECT_EQ(r.num_exits, 4u);
  EXPECT_EQ(r.sigma_source, SigmaSource::kWithinClusters);
  EXPECT_NEAR(r.sigma_ns, model.sigma_ns, 0.1 * model.sigma_ns);
  EXPECT_NE(r.advice.find("measure each sample at least twice"), std::string::npos) << r.advice;
}

TEST(ExitEstimation, AdviceNamesTheSeparationAndTheRepetitionsNeeded) {
  TimeModel model{.share = {.5, .5}};
  model.gap_ns = 5 * model.sigma_ns;
  const Times t = draw_times(model, 20000, 4, 11);
  const ExitEstimate r =
      estimate_exits(t.ns, 4, {.statistic = TimeStatistic::kMean, .sigma_ns = model.sigma_ns});
  // Given sigma: 5 sigma apart, so 4 (6/5)^2 = 5.76 repetitions.
  EXPECT_EQ(r.num_exits, 2u);
  EXPECT_NEAR(r.separation_sigmas, 5, 0.05);
  EXPECT_EQ(r.repetitions_needed, 6u);
  EXPECT_EQ(r.advice, "adjacent exits are 5.0 sigma apart: 6 repetitions needed");
  EXPECT_FALSE(r.reliable);
}

// Neighbours 8 and 30 sigma apart: it is the nearer ones that may be mistaken for each other.
TEST(ExitEstimation, TheSeparationIsThatOfTheNearestNeighbours) {
  std::mt19937_64 rng(2);
  std::normal_distribution<double> normal(0, 100);
  for (const bool first : {true, false}) {
    const double centres[] = {50000, first ? 50800.0 : 53000.0, 53800};
    std::vector<double> t;
    for (std::size_t i = 0; i < 3000; ++i) t.push_back(centres[i % 3] + normal(rng));
    const ExitEstimate r = estimate_exits(t, 1, {.sigma_ns = 100});
    ASSERT_EQ(r.num_exits, 3u);
    EXPECT_NEAR(r.separation_sigmas, 8, 0.2) << first;
  }
}

TEST(ExitEstimation, StatisticsOfARowByHand) {
  const std::vector<double> t = {9, 1, 2, 8, 5, 30, 10, 20, 60, 40};
  const auto of = [&](TimeStatistic s) { return time_statistic(t, 5, s); };
  EXPECT_EQ(of(TimeStatistic::kMinimum), (std::vector<double>{1, 10}));
  EXPECT_NEAR(of(TimeStatistic::kQuantile20)[0], 1.8, 1e-12);  // type 7: 0.8 of the way to the second
  EXPECT_NEAR(of(TimeStatistic::kQuantile20)[1], 18, 1e-12);
  EXPECT_EQ(of(TimeStatistic::kMedian), (std::vector<double>{5, 30}));
  EXPECT_EQ(of(TimeStatistic::kMean), (std::vector<double>{5, 32}));
}

// Ten normal differences in a thousand replaced by far ones are outliers, a hundred are noise: the second
// sigma is that of a mixture, sqrt(0.9 + 0.1 * 100^2) of the first.
TEST(ExitEstimation, NoiseLeavesOutRareOutliersAndNoMore) {
  std::mt19937_64 rng(5);
  std::normal_distribution<double> normal;
  const auto pairs = [&](std::size_t far) {  // differences of sigma 1, `far` of them of sigma 100
    std::vector<double> t;
    for (std::size_t i = 0; i < 1000; ++i) {
      t.push_back(1e6);
      t.push_back(1e6 + (i < far ? 100 : 1) * normal(rng));
    }
    return t;
  };
  // The mean halves a difference. Three standard errors of a deviation from 1000 values; a far value within
  // six deviations stays and adds at most 36 / 1000 to the variance.
  EXPECT_NEAR(measured_noise(pairs(10), 2, TimeStatistic::kMean), 0.5, 0.5 * (3 / std::sqrt(2000.0) + 0.04));
  // Ten of the hundred go, the largest: 44 % of their squares (normal, |z| > 1.645), and sqrt(0.56) = 0.75
  // stays; three standard errors of a deviation from 90 values are 0.22 of that.
  const double mixture = 0.5 * std::sqrt(0.9 + 0.1 * 100 * 100);
  const std::vector<double> noisy = pairs(100);
  EXPECT_NEAR(measured_noise(noisy, 2, TimeStatistic::kMean), 0.75 * mixture, 0.22 * 0.75 * mixture);
  // With half allowed to go, the far ones are gone: what is left is the core.
  EXPECT_LT(measured_noise(noisy, 2, TimeStatistic::kMean, 0.5), 1.0);
}

// Two machines: one whose core is 4 % faster in one measurement of twenty, and one that is 1.4 times slower
// in three of five. What repeats best is the quantile on the first and the minimum on the second.
TEST(ExitEstimation, TheStatisticThatRepeatsBestIsUsed) {
  constexpr std::size_t kSamples = 600, kRepetitions = 20;
  const double centres[] = {57000, 85000, 113000};
  std::mt19937_64 rng(8);
  std::uniform_real_distribution<double> uniform;
  const auto times = [&](double share, double factor) {
    std::vector<double> t;
    for (std::size_t i = 0; i < kSamples; ++i)
      for (std::size_t r = 0; r < kRepetitions; ++r) {
        const double noise = 300 * uniform(rng);
        t.push_back((centres[i % 3] + noise) * (uniform(rng) < share ? factor : 1));
      }
    return t;
  };
  const auto fast = times(0.05, 0.96), slow = times(0.6, 1.4);
  EXPECT_EQ(least_noisy_statistic(fast, kRepetitions), TimeStatistic::kQuantile20);
  EXPECT_EQ(least_noisy_statistic(slow, kRepetitions), TimeStatistic::kMinimum);
  for (const auto& t : {fast, slow}) {
    const auto e = estimate_exits(t, kRepetitions);
    ASSERT_EQ(e.num_exits, 3u);
    EXPECT_EQ(e.statistic, least_noisy_statistic(t, kRepetitions));
    EXPECT_EQ(e.statistic_ns, time_statistic(t, kRepetitions, e.statistic));
    EXPECT_EQ(e.sigma_ns, measured_noise(t, kRepetitions, e.statistic));
    for (std::size_t i = 0; i < kSamples; ++i) EXPECT_EQ(e.exits[i], 1 + i % 3) << i;
  }
  const std::vector<double> once = {1, 2, 3};
  EXPECT_EQ(estimate_exits(once, 1).statistic, TimeStatistic::kMinimum);
}

TEST(ExitEstimation, KnownExitsKeepsTheDeepestValleysAndReportsFailure) {
  TimeModel model;
  model.gap_ns = 5 * model.sigma_ns;
  Times t = draw_times(model, 2000, 1, 21);
  t.ns.push_back(1e8);  // one far outlier: the deepest valley of all, and not an exit
  t.true_exit.push_back(4);
  const ExitEstimate four = estimate_exits(t.ns, 1, {.sigma_ns = model.sigma_ns, .known_exits = 4});
  EXPECT_EQ(four.num_exits, 4u);
  EXPECT_GT(share_equal(four.exits, t.true_exit), 0.97);
  const ExitEstimate two = estimate_exits(t.ns, 1, {.sigma_ns = model.sigma_ns, .known_exits = 2});
  EXPECT_EQ(two.num_exits, 2u);
  const ExitEstimate one = estimate_exits(t.ns, 1, {.sigma_ns = model.sigma_ns, .known_exits = 1});
  EXPECT_EQ(one.num_exits, 1u);
  const std::vector<double> close = {100, 100.5, 101};
  const ExitEstimate failed = estimate_exits(close, 1, {.sigma_ns = 1000, .known_exits = 3});
  EXPECT_EQ(failed.num_exits, 1u);
  EXPECT_FALSE(failed.reliable);
  EXPECT_NE(failed.advice.find("only 1 exit of 3 could be told apart"), std::string::npos) << failed.advice;
}

TEST(ExitEstimation, ConfidenceIsTheProbabilityOfTheSameSide) {
  std::vector<double> t;
  for (int i = 0; i < 50; ++i) {
    t.push_back(100);
    t.push_back(200);
  }
  t.push_back(140);
  const ExitEstimate r = estimate_exits(t, 1, {.sigma_ns = 10.0, .min_share = 0.05});
  ASSERT_EQ(r.num_exits, 2u);
  const double z = (r.thresholds_ns[0] - 140) / 10;
  EXPECT_EQ(r.exits.back(), 1u);
  EXPECT_NEAR(r.confidence.back(), 0.5 * std::erfc(-z / std::numbers::sqrt2), 1e-15);
  EXPECT_GT(r.confidence[0], 0.9999);
  t.back() = 160;  // on the other side: of what lies above the threshold
  const ExitEstimate above = estimate_exits(t, 1, {.sigma_ns = 10.0, .min_share = 0.05});
  EXPECT_EQ(above.exits.back(), 2u);
  EXPECT_NEAR(above.confidence.back(),
              0.5 * std::erfc((above.thresholds_ns[0] - 160) / 10 / std::numbers::sqrt2),
              1e-12);
  EXPECT_EQ(r.counts, (std::vector<std::size_t>{51, 50}));
}

TEST(ExitEstimation, ATimeOnAThresholdBelongsToTheEarlierExit) {
  const std::vector<double> thresholds = {10, 20};
  EXPECT_EQ(exit_of_time(10, thresholds), 1u);
  EXPECT_EQ(exit_of_time(std::nextafter(10.0, 11.0), thresholds), 2u);
  EXPECT_EQ(exit_of_time(20, thresholds), 2u);
  EXPECT_EQ(exit_of_time(21, thresholds), 3u);
  EXPECT_EQ(exit_of_time(5, {}), 1u);
}

TEST(ExitEstimation, ACoarseTimerDoesNotMakeEveryTickAnExit) {
  TimeModel model{.share = {.5, .5}};
  model.gap_ns = 100 * 41;
  model.sigma_ns = 15;
  Times t = draw_times(model, 3000, 3, 3);
  for (double& ns : t.ns) ns = 41 * std::round(ns / 41);
  const ExitEstimate r = estimate_exits(t.ns, 3, {});
  EXPECT_EQ(r.num_exits, 2u) << r.advice;
  EXPECT_EQ(share_equal(r.exits, t.true_exit), 1);
}

TEST(ExitEstimation, EqualTimesOneSampleAndZeroAreAnswered) {
  const ExitEstimate equal = estimate_exits(std::vector<double>(40, 5.0), 4, {});
  EXPECT_EQ(equal.num_exits, 1u);
  EXPECT_EQ(equal.counts, std::vector<std::size_t>{10});
  EXPECT_EQ(equal.sigma_ns, 0);
  EXPECT_EQ(equal.confidence[0], 1);
  const ExitEstimate single = estimate_exits(std::vector<double>{7}, 1, {});
  EXPECT_EQ(single.num_exits, 1u);
  EXPECT_EQ(single.advice, "one sample shows one exit: measure more samples");
  EXPECT_EQ(estimate_exits(std::vector<double>{0, 0}, 1, {}).num_exits, 1u);
  EXPECT_EQ(equal.advice,
            "all times are equal: either there is only one exit or the timer is too coarse to tell");
  const ExitEstimate pair = estimate_exits(std::vector<double>{1, 2}, 1, {});
  EXPECT_GE(pair.num_exits, 1u);
  EXPECT_EQ(pair.exits.size(), 2u);
}

TEST(ExitEstimation, DensityAndSegmentationMayBeDoneElsewhere) {
  const test::Times t = test::draw_times({}, 500, 10, 5);
  for (const EstimationMethod method : {EstimationMethod::kDensity, EstimationMethod::kChangepoints}) {
    std::size_t densities = 0, segmentations = 0;
    EstimationOptions o;
    o.method = method;
    o.density = [&](std::span<const double> sample,
                    std::span<const double> points,
                    double bandwidth,
                    double cell_width,
                    double reach) {
      ++densities;
      std::vector<double> f(points.size());
      BinnedDensity(sample, bandwidth, cell_width, reach, 1).evaluate(points, f);
      return f;
    };
    o.segmentation =
        [&](std::span<const double> y, const NormalGammaPrior& prior, const LengthPrior& length) {
          ++segmentations;
          return map_segmentation(y, prior, length);
        };
    const ExitEstimate got = estimate_exits(t.ns, 10, o);
    const ExitEstimate want = estimate_exits(t.ns, 10, {.method = method});
    EXPECT_EQ(got.exits, want.exits);
    EXPECT_EQ(got.num_exits, 4u);
    EXPECT_GT(densities, 0u);
    EXPECT_EQ(segmentations, method == EstimationMethod::kDensity ? 0u : 1u);
  }
}

TEST(ExitEstimation, BadInputIsNamed) {
  const double inf = std::numeric_limits<double>::infinity();
  const auto run = [](std::vector<double> t, std::size_t r = 1, EstimationOptions o = {}) {
    return estimate_exits(t, r, o);
  };
  EXPECT_MESSAGE(run({}), "estimate_exits: times must hold at least one value, got none");
  EXPECT_MESSAGE(run({1, std::nan(""), 2}), "times must be finite, got nan at index 1");
  EXPECT_MESSAGE(run({1, inf}), "times must be finite, got inf at index 1");
  EXPECT_MESSAGE(run({1, -3}), "times must not be negative, got -3 ns at index 1");
  EXPECT_MESSAGE(run({1e308, 1}), "times must not exceed 1e+15 ns (eleven days), got 1e+308 at index 0");
  EXPECT_MESSAGE(run({1, 2, 3}, 2), "3 times are no multiple of 2 repetitions");
  EXPECT_MESSAGE(run({1, 2, 3}, 0), "3 times are no multiple of 0 repetitions");
  EXPECT_MESSAGE(run({1, 2, 3}, 1, {.known_exits = 4}), "known_exits must lie in 1..3 (the samples), got 4");
  EXPECT_MESSAGE(run({1, 2, 3}, 1, {.known_exits = 0}), "known_exits must lie in 1..3");
  EXPECT_MESSAGE(run({1, 2}, 1, {.sigma_ns = 0.0}), "sigma_ns must be positive and finite, got 0");
  EXPECT_MESSAGE(run({1, 2}, 1, {.bandwidth_ns = inf}), "bandwidth_ns must be positive and finite, got inf");
  EXPECT_MESSAGE(run({1, 2, 3}, 1, {.method = EstimationMethod::kChangepoints, .max_changepoint_samples = 2}),
                 "3 samples exceed max_changepoint_samples = 2");
  EXPECT_MESSAGE(measured_noise(std::vector<double>{1, 2}, 1, TimeStatistic::kMean),
                 "at least 2 repetitions");
}

}  // namespace
}  // namespace offramp::stats
