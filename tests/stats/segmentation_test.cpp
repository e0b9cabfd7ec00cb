#include "stats/segmentation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

double squares(const std::vector<double>& y, std::size_t begin, std::size_t end) {
  double mean = 0, sum = 0;
  for (std::size_t i = begin; i < end; ++i) mean += y[i] / static_cast<double>(end - begin);
  for (std::size_t i = begin; i < end; ++i) sum += (y[i] - mean) * (y[i] - mean);
  return sum;
}

// best[k][end]: k segments over the first `end` points, every start tried.
std::vector<std::vector<double>> all_optima(const std::vector<double>& y, std::size_t most) {
  const double never = std::numeric_limits<double>::infinity();
  std::vector<std::vector<double>> best(most + 1, std::vector<double>(y.size() + 1, never));
  best[0][0] = 0;
  for (std::size_t k = 1; k <= most; ++k) {
    for (std::size_t end = 1; end <= y.size(); ++end) {
      for (std::size_t start = 0; start < end; ++start) {
        best[k][end] = std::min(best[k][end], best[k - 1][start] + squares(y, start, end));
      }
    }
  }
  return best;
}

double total(const std::vector<double>& y, const Segmentation& s) {
  double sum = 0;
  for (std::size_t i = 0; i < s.starts.size(); ++i) {
    sum += squares(y, s.starts[i], i + 1 < s.starts.size() ? s.starts[i + 1] : y.size());
  }
  return sum;
}

std::vector<double> draw(std::size_t n, std::uint64_t seed, bool ties) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  std::vector<double> y;
  for (std::size_t i = 0; i < n; ++i) {
    const double v = 2 * std::floor(5 * static_cast<double>(i) / static_cast<double>(n)) + normal(rng);
    y.push_back(ties ? std::round(v) : v);
  }
  return y;
}

TEST(Segmentation, EverySolverReachesTheOptimumOfFullDynamicProgramming) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const std::size_t n = 1 + seed % 37;
    const std::vector<double> y = draw(n, seed, seed % 2 == 0);
    std::vector<double> sorted = y;
    std::sort(sorted.begin(), sorted.end());
    const auto best = all_optima(y, n), best_sorted = all_optima(sorted, n);
    const double rounding = 1e-12 * (1 + squares(y, 0, n));
    for (const double penalty : {0.0, 0.3, 2.0, 50.0}) {
      double want = std::numeric_limits<double>::infinity(), want_sorted = want;
      for (std::size_t k = 1; k <= n; ++k) {
        want = std::min(want, best[k][n] + penalty * static_cast<double>(k));
        want_sorted = std::min(want_sorted, best_sorted[k][n] + penalty * static_cast<double>(k));
      }
      const Segmentation a = segment_pelt(y, penalty), b = segment_sorted(sorted, penalty);
      EXPECT_NEAR(total(y, a) + penalty * static_cast<double>(a.starts.size()), want, rounding)
          << "seed " << seed;
      EXPECT_NEAR(total(sorted, b) + penalty * static_cast<double>(b.starts.size()), want_sorted, rounding)
          << "seed " << seed << " penalty " << penalty;
      EXPECT_NEAR(a.squares, total(y, a), rounding);
    }
    for (std::size_t k = 1; k <= n; ++k) {
      const Segmentation s = segment_sorted_into(sorted, k);
      ASSERT_EQ(s.starts.size(), k);
      EXPECT_NEAR(total(sorted, s), best_sorted[k][n], rounding) << "seed " << seed << " k " << k;
    }
  }
}

TEST(Segmentation, OneCleanStepIsFoundWhereItIs) {  // findings/ruptures-pelt-default-step.sh
  constexpr std::size_t kSize = 200;
  for (std::size_t step = 1; step < kSize; ++step) {
    std::vector<double> y(kSize, 5.0);
    std::fill_n(y.begin(), step, 0.0);
    const std::vector<std::size_t> want = {0, step};
    EXPECT_EQ(segment_pelt(y, 3).starts, want);
    EXPECT_EQ(segment_sorted(y, 3).starts, want);
    EXPECT_EQ(segment_sorted_into(y, 2).starts, want);
  }
}

TEST(Segmentation, QueueAndPeltAgreeOnLargeSortedData) {
  std::vector<double> y = draw(4000, 3, false);
  std::sort(y.begin(), y.end());
  const Segmentation a = segment_sorted(y, 8), b = segment_pelt(y, 8);
  EXPECT_EQ(a.starts, b.starts);
  EXPECT_EQ(segment_sorted_into(y, a.starts.size()).starts, a.starts);
  EXPECT_GT(a.starts.size(), 3u);
}

TEST(Segmentation, BadInputIsNamedAndSmallInputIsDefined) {
  const std::vector<double> none, one = {4}, down = {2, 1}, nan = {std::nan("")};
  EXPECT_MESSAGE(segment_sorted(none, 1), "segment_sorted: the data must hold at least one value");
  EXPECT_MESSAGE(segment_sorted(down, 1), "segment_sorted: the data must be in ascending order");
  EXPECT_MESSAGE(segment_pelt(nan, 1), "segment_pelt: the data must be finite, got nan at index 0");
  EXPECT_MESSAGE(segment_pelt(one, -1), "the penalty must be finite and not negative, got -1");
  EXPECT_MESSAGE(segment_sorted_into(one, 2), "segments must lie in 1..1, got 2");
  EXPECT_EQ(segment_sorted(one, 1).starts, std::vector<std::size_t>{0});
  EXPECT_EQ(segment_pelt(std::vector<double>(9, 3.0), 1).starts, std::vector<std::size_t>{0});
}

}  // namespace
}  // namespace offramp::stats
