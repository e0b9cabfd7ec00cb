#include "stats/intervals.h"

#include <cmath>
#include <numeric>
#include <random>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

TEST(Intervals,
     SharesMatchPublishedValues) {  // scipy.stats.binomtest(7, 20).proportion_ci, docs/results/stats.md
  const Interval wilson = wilson_interval(7, 20), exact = exact_interval(7, 20);
  constexpr double kDigits = 1e-12;
  EXPECT_EQ(wilson.estimate, 0.35);
  EXPECT_NEAR(wilson.low, 0.1811918241010821, kDigits);
  EXPECT_NEAR(wilson.high, 0.5671457233147637, kDigits);
  EXPECT_NEAR(exact.low, 0.1539092047845412, kDigits);
  EXPECT_NEAR(exact.high, 0.5921885345328283, kDigits);
}

TEST(Intervals, WilsonHoldsItsEstimateAtBothEnds) {
  for (std::size_t n = 1; n <= 400; ++n) {
    for (const double level : {0.5, 0.9, 0.95, 0.99}) {
      ASSERT_EQ(wilson_interval(0, n, level).low, 0) << n;
      ASSERT_EQ(wilson_interval(n, n, level).high, 1) << n;
    }
  }
}

TEST(Intervals, ExactIntervalHasBinomialTailsOfItsLevel) {
  for (const std::size_t k : {0u, 1u, 9u, 30u}) {
    const Interval i = exact_interval(k, 30, 0.9);
    const auto upper_tail = [](std::size_t from, double p) {  // P(X >= from), 30 trials
      double sum = 0;
      for (std::size_t x = from; x <= 30; ++x) {
        sum += std::exp(std::lgamma(31) - std::lgamma(static_cast<double>(x) + 1) -
                        std::lgamma(31 - static_cast<double>(x)) + static_cast<double>(x) * std::log(p) +
                        (30 - static_cast<double>(x)) * std::log1p(-p));
      }
      return sum;
    };
    constexpr double kLgamma = 1e-12;
    if (k > 0) {
      EXPECT_NEAR(upper_tail(k, i.low), 0.05, kLgamma);
    }
    if (k < 30) {
      EXPECT_NEAR(1 - upper_tail(k + 1, i.high), 0.05, kLgamma);
    }
  }
  EXPECT_EQ(exact_interval(0, 5).low, 0);
  EXPECT_EQ(exact_interval(5, 5).high, 1);
  EXPECT_EQ(wilson_interval(0, 5).low, 0);
}

TEST(Intervals, AMeanOfTwoRatesJoinsTheArmsOfBoth) {
  const Interval a = exact_interval(56, 70), b = exact_interval(48, 80),
                 mean = mean_rate_interval(56, 70, 48, 80);
  EXPECT_NEAR(mean.estimate, .7, 1e-12);
  EXPECT_NEAR(mean.low, .7 - std::hypot(.8 - a.low, .6 - b.low) / 2, 1e-12);
  EXPECT_NEAR(mean.high, .7 + std::hypot(a.high - .8, b.high - .6) / 2, 1e-12);
  EXPECT_EQ(mean_rate_interval(40, 40, 40, 40).high, 1);
  EXPECT_LT(mean_rate_interval(40, 40, 40, 40).low, .95);
}

// How often the interval holds the true mean, from exact binomials; a percentile bootstrap comes to .67 for the first.
TEST(Intervals, AMeanOfTwoRatesIsCoveredNearTheEndsToo) {
  for (const auto& [rate, n] : {std::pair(.98, 30), {.995, 150}, {.6, 40}}) {
    std::vector<double> share(static_cast<std::size_t>(n) + 1);
    for (std::size_t k = 0; k < share.size(); ++k)
      share[k] =
          std::exp(std::lgamma(n + 1.) - std::lgamma(static_cast<double>(k) + 1) -
                   std::lgamma(n - static_cast<double>(k) + 1) + static_cast<double>(k) * std::log(rate) +
                   (n - static_cast<double>(k)) * std::log1p(-rate));
    double covered = 0;
    for (std::size_t i = 0; i < share.size(); ++i)
      for (std::size_t j = 0; j < share.size(); ++j) {
        const Interval m = mean_rate_interval(i, static_cast<std::size_t>(n), j, static_cast<std::size_t>(n));
        if (m.low <= rate && rate <= m.high) covered += share[i] * share[j];
      }
    EXPECT_GT(covered, .95) << rate << " of " << n;
    EXPECT_LT(covered, .98) << rate << " of " << n;
  }
}

TEST(Intervals, MeanUsesStudentsQuantile) {
  const std::vector<double> x = {1, 2, 3, 4};
  const Interval i = mean_interval(x);
  // t(3) at .975 is 3.182446305284263 (any table: 3.182); sd = sqrt(5/3)
  EXPECT_NEAR(i.high - i.estimate, 3.182446305284263 * std::sqrt(5.0 / 3) / 2, 1e-12);
  EXPECT_EQ(i.estimate, 2.5);
}

TEST(Intervals, BootstrapOfAMeanMeetsTheNormalInterval) {
  std::mt19937_64 rng(5);
  std::normal_distribution<double> normal;
  std::vector<double> x;
  for (int i = 0; i < 1000; ++i) x.push_back(normal(rng));
  const auto mean = [&](std::span<const std::size_t> index) {
    double sum = 0;
    for (const std::size_t i : index) sum += x[i];
    return sum / static_cast<double>(index.size());
  };
  const Interval b = bootstrap(x.size(), mean, {.resamples = 4000});
  const Interval t = mean_interval(x);
  // The quantile of 4000 resamples has a standard error of about 0.04 of the interval's half width.
  const double half = (t.high - t.low) / 2;
  EXPECT_NEAR(b.low, t.low, 0.2 * half);
  EXPECT_NEAR(b.high, t.high, 0.2 * half);
  const Interval again = bootstrap(x.size(), mean, {.resamples = 4000, .threads = 3});
  EXPECT_EQ(again.low, b.low);
  const Interval other = bootstrap(x.size(), mean, {.resamples = 4000, .seed = 2});
  EXPECT_NE(other.low, b.low);
  const Interval even = bootstrap(x.size(), mean, {.resamples = 4000, .level = 0.5}),
                 et = mean_interval(x, 0.5);
  EXPECT_NEAR(even.low, et.low, 0.1 * half);
  EXPECT_NEAR(even.high, et.high, 0.1 * half);
}

TEST(Intervals, BadInputIsNamed) {
  EXPECT_MESSAGE(mean_interval(std::vector<double>{1e308, -1e308}), "exceed what a double holds");
  EXPECT_MESSAGE(wilson_interval(1, 0), "needs 1 <= trials and successes <= trials, got 1 of 0");
  EXPECT_MESSAGE(exact_interval(3, 2),
                 "exact_interval: needs 1 <= trials and successes <= trials, got 3 of 2");
  EXPECT_MESSAGE(wilson_interval(1, 2, 1), "the level must lie in (0, 1), got 1");
  EXPECT_MESSAGE(mean_interval(std::vector<double>{1}), "needs at least two values, got 1");
  EXPECT_MESSAGE(bootstrap(0, [](auto) { return 0.0; }), "bootstrap: needs at least one item");
}

}  // namespace
}  // namespace offramp::stats
