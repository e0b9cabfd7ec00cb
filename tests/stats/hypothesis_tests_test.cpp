#include "stats/hypothesis_tests.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <tuple>
#include <vector>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

TEST(HypothesisTests, QueryBudgetTableOfTheSpec) {  // specs/membership.md 6.1, ceilings
  const std::vector<double> sigma = {1, 2, 5, 10, 20, 50};
  const std::vector<std::pair<double, std::vector<std::size_t>>> table = {{3, {1, 4, 22, 86, 342, 2135}},
                                                                          {5, {1, 2, 8, 31, 123, 769}},
                                                                          {7, {1, 1, 4, 16, 63, 392}},
                                                                          {9, {1, 1, 3, 10, 38, 238}},
                                                                          {11, {1, 1, 2, 7, 26, 159}}};
  for (const auto& [gap, row] : table) {
    for (std::size_t i = 0; i < sigma.size(); ++i) {
      EXPECT_EQ(repetitions_to_distinguish(sigma[i], gap), row[i]) << "sigma " << sigma[i] << " gap " << gap;
    }
  }
  EXPECT_EQ(repetitions_to_cluster(1, 3), 4u);
  EXPECT_EQ(repetitions_to_cluster(2, 3), 16u);
  EXPECT_EQ(repetitions_to_distinguish(0, 1), 1u);
}

TEST(HypothesisTests, SignTestByCounting) {
  // 12 of 15 positive: 2 (C(15,0) + C(15,1) + C(15,2) + C(15,3)) / 2^15
  std::vector<double> a(15, 1.0), b(15, 0.0);
  b[0] = b[1] = b[2] = 2;
  const double want = 2.0 * (1 + 15 + 105 + 455) / 32768;
  EXPECT_NEAR(sign_test(a, b).p_value, want, 1e-14);
  EXPECT_EQ(sign_test(a, b).statistic, 12);
  EXPECT_NEAR(sign_test(b, a).p_value, want, 1e-14);
  EXPECT_EQ(sign_test(a, a).p_value, 1);
}

// The share of the 2^n sign patterns whose rank sum lies as far out as the observed one, two-sided; ranks by
// counting the smaller and the equal.
double brute_force_wilcoxon(const std::vector<double>& d) {
  const std::size_t n = d.size();
  const auto twice_rank = [&](double v) {
    int smaller = 0, equal = 0;
    for (const double w : d) {
      smaller += std::abs(w) < std::abs(v);
      equal += std::abs(w) == std::abs(v);
    }
    return 2 * smaller + equal + 1;
  };
  std::vector<int> ranks;
  int observed = 0, total = 0;
  for (const double v : d) {
    ranks.push_back(twice_rank(v));
    observed += v > 0 ? ranks.back() : 0;
    total += ranks.back();
  }
  const int low = std::min(observed, total - observed);
  double hits = 0;
  for (unsigned signs = 0; signs < 1u << n; ++signs) {
    int sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += signs >> i & 1 ? ranks[i] : 0;
    hits += sum <= low ? 1 : 0;
  }
  return std::min(1.0, 2 * hits / static_cast<double>(1u << n));
}

TEST(HypothesisTests, WilcoxonExactEqualsEnumerationOfSigns) {
  std::mt19937_64 rng(3);
  std::normal_distribution<double> normal(0.3, 1);
  for (std::size_t n = 1; n <= 12; ++n) {
    for (const bool ties : {false, true}) {
      std::vector<double> d(n), zero(n, 0.0);
      for (double& v : d) {
        v = normal(rng);
        if (ties) v = v < 0 ? std::floor(2 * v) : std::ceil(2 * v);  // few sizes, none zero
      }
      EXPECT_NEAR(wilcoxon_signed_rank(d, zero).p_value, brute_force_wilcoxon(d), 1e-14)
          << "n " << n << (ties ? " with ties" : "");
    }
  }
}

TEST(HypothesisTests, FewTiedPairsCannotBeMoreExtremeThanTheirPatterns) {
  const std::vector<double> ones(5, 1.0), zeros(5, 0.0);
  EXPECT_EQ(wilcoxon_signed_rank(ones, zeros).p_value, 0.0625);  // 2 of 2^5
  EXPECT_EQ(wilcoxon_signed_rank(ones, zeros).statistic, 15);
  const std::vector<double> a = {2.1, 2.2, 2.3, 2.4, 2.5}, b = {2.0, 2.1, 2.2, 2.3, 2.4};  // partly tied
  EXPECT_EQ(wilcoxon_signed_rank(a, b).p_value, 0.0625);
}

TEST(HypothesisTests, PublishedExamples) {  // scipy.stats on the same data, docs/results/stats.md
  constexpr double kDigits = 1e-12;
  // Hollander and Wolfe, depression scale: exact p = 0.0390625 = 20 of 512 patterns.
  const std::vector<double> x = {1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30};
  const std::vector<double> y = {0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29};
  EXPECT_EQ(wilcoxon_signed_rank(x, y).statistic, 40);
  EXPECT_NEAR(wilcoxon_signed_rank(x, y).p_value, 0.0390625, kDigits);
  const std::vector<double> d = {1, 2, 2, 3, -1, 4, 5, -2, 6, 7, 8, 9, -3, 10, 11}, zero(15, 0.0);
  EXPECT_NEAR(wilcoxon_signed_rank(d, zero).p_value, brute_force_wilcoxon(d), kDigits);  // ties: by counting
  const std::vector<double> a = {
      27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4};
  const std::vector<double> b = {
      27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 24.0};
  EXPECT_NEAR(welch_t_test(a, b).statistic, -2.8291649048617393, kDigits);
  EXPECT_NEAR(welch_t_test(a, b).p_value, 0.008551778311418774, kDigits);
  EXPECT_NEAR(welch_t_test(b, a).statistic, -welch_t_test(a, b).statistic, kDigits);
}

TEST(HypothesisTests, LargeSamplesUseTheNormalApproximationCloseToTheExactOne) {
  std::mt19937_64 rng(8);
  std::normal_distribution<double> normal(0.25, 1);
  std::vector<double> d(60), zero(60, 0.0);
  for (double& v : d) v = normal(rng);
  const double exact = wilcoxon_signed_rank(d, zero).p_value;
  std::vector<double> more = d, zeros(61, 0.0);
  more.push_back(
      1e-9);  // rank 1: shifts the statistic by one of 1830, and crosses the limit of the exact table
  EXPECT_NEAR(wilcoxon_signed_rank(more, zeros).p_value, exact, 0.1 * exact + 0.005);
}

// Sizes 1, 2 and 3 of 20, 20 and 30 pairs, 5, 8 and 22 of them positive: mid-ranks 10.5, 30.5 and 55.5, W = 1517.5 of 2485.
// Variance 70 71 141 / 24 less (2 (20^3 - 20) + 30^3 - 30) / 48 for the ties.
TEST(HypothesisTests, TheNormalApproximationCorrectsForTiesAndContinuity) {
  std::vector<double> d;
  for (const auto& [size, pairs, positive] :
       {std::tuple(1.0, 20, 5), std::tuple(2.0, 20, 8), std::tuple(3.0, 30, 22)})
    for (int i = 0; i < pairs; ++i) d.push_back(i < positive ? size : -size);
  const TestResult r = wilcoxon_signed_rank(d, std::vector<double>(d.size(), 0.0));
  EXPECT_EQ(r.statistic, 1517.5);
  const double z = (2485 - 1517.5 - 1242.5 + 0.5) / std::sqrt(29198.75 - 894.375);
  EXPECT_NEAR(r.p_value, std::erfc(-z / std::sqrt(2.0)), 1e-12);
}

// Tenths are no doubles: 12.3 - 12.2 and 0.4 - 0.3 differ in the last digits. The same in whole numbers is not rounded.
TEST(HypothesisTests, TiesOfDecimalFractionsAreTies) {
  std::mt19937_64 rng(8);
  std::vector<double> a, b, whole_a, whole_b;
  for (int i = 0; i < 50; ++i) {
    whole_a.push_back(static_cast<double>(rng() % 1000));
    whole_b.push_back(whole_a.back() + static_cast<double>(rng() % 9) - 3);
    a.push_back(whole_a.back() / 10);
    b.push_back(whole_b.back() / 10);
  }
  const TestResult whole = wilcoxon_signed_rank(whole_a, whole_b), tenths = wilcoxon_signed_rank(a, b);
  EXPECT_EQ(tenths.statistic, whole.statistic);
  EXPECT_EQ(tenths.p_value, whole.p_value);
  // Differences that are small beside the values, yet many of their last digits, are none.
  const std::vector<double> large = {1e6, 1e6, 1e6}, above = {1e6 + 1e-6, 1e6 - 2e-6, 1e6 + 3e-6};
  EXPECT_EQ(wilcoxon_signed_rank(above, large).statistic, 4);
}

TEST(HypothesisTests, WelchTakesTimesOfAnySize) {
  std::vector<double> a = {1, 2, 4, 8}, b = {3, 5, 9, 11, 12};
  const TestResult want = welch_t_test(a, b);
  for (const double unit : {std::ldexp(1.0, 480), std::ldexp(1.0, -480)}) {
    std::vector<double> x, y;
    for (const double v : a) x.push_back(v * unit);
    for (const double v : b) y.push_back(v * unit);
    EXPECT_EQ(welch_t_test(x, y).p_value, want.p_value) << unit;
  }
  const std::vector<double> huge = {1e308, -1e308};
  EXPECT_MESSAGE(welch_t_test(huge, a), "exceed what a double holds");
}

// One side constant: the freedom is that of the other, two, whose distribution is 1/2 + t / (2 sqrt(2 + t^2)).
TEST(HypothesisTests, WelchsFreedomIsOfTheSideThatSpreads) {
  const std::vector<double> spread = {1, 3, 5}, constant(6, 0.0);
  const double t = 3 / std::sqrt(4. / 3);
  for (const TestResult& r : {welch_t_test(spread, constant), welch_t_test(constant, spread)}) {
    EXPECT_NEAR(std::abs(r.statistic), t, 1e-12);
    EXPECT_NEAR(r.p_value, 1 - t / std::sqrt(2 + t * t), 1e-12);
  }
}

TEST(HypothesisTests, ConstantSamplesAreAnswered) {
  const std::vector<double> one = {1, 1, 1}, two = {2, 2};
  EXPECT_EQ(welch_t_test(one, one).p_value, 1);
  EXPECT_EQ(welch_t_test(one, two).p_value, 0);
  EXPECT_EQ(wilcoxon_signed_rank(one, one).p_value, 1);
}

TEST(HypothesisTests, BadInputIsNamed) {
  const std::vector<double> none, one = {1}, two = {1, 2}, nan = {1, std::nan("")};
  EXPECT_MESSAGE(repetitions_to_distinguish(-1, 1),
                 "needs a finite sigma >= 0 and a finite gap > 0, got -1 and 1");
  EXPECT_MESSAGE(repetitions_to_cluster(1, 0), "got 1 and 0");
  EXPECT_MESSAGE(repetitions_to_cluster(1e300, 1), "more than 9e15 repetitions");
  EXPECT_MESSAGE(sign_test(one, two), "sign_test: a and b must have equal lengths, got 1 and 2");
  EXPECT_MESSAGE(wilcoxon_signed_rank(none, none), "a must hold at least one value");
  EXPECT_MESSAGE(wilcoxon_signed_rank(two, nan), "b must be finite, got nan at index 1");
  EXPECT_MESSAGE(welch_t_test(two, one), "welch_t_test: b needs at least two values, got 1");
}

}  // namespace
}  // namespace offramp::stats
