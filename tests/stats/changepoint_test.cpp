#include "stats/changepoint.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

// The formulas in long double, two passes over each segment, no prefix sums.
long double evidence(std::span<const double> y, const NormalGammaPrior& p) {
  const long double m = y.size();
  long double mean = 0, squares = 0;
  for (const double v : y) mean += v / m;
  for (const double v : y) squares += (v - mean) * (v - mean);
  const long double kn = p.k0 + m, an = p.a0 + m / 2;
  const long double bn = p.b0 + squares / 2 + p.k0 * m * (mean - p.mu0) * (mean - p.mu0) / (2 * kn);
  return std::lgamma(an) - std::lgamma(static_cast<long double>(p.a0)) +
         p.a0 * std::log(static_cast<long double>(p.b0)) - an * std::log(bn) +
         (std::log(static_cast<long double>(p.k0)) - std::log(kn)) / 2 -
         m / 2 * std::log(2 * std::numbers::pi_v<long double>);
}

long double add_logs(long double a, long double b) {
  const long double top = std::max(a, b);
  return top + std::log1p(std::exp(std::min(a, b) - top));
}

std::vector<long double> reference_q(const std::vector<double>& y,
                                     const NormalGammaPrior& p,
                                     const LengthPrior& g) {
  const std::size_t n = y.size();
  std::vector<long double> q(n);
  const std::span<const double> all(y);
  for (std::size_t t = n; t-- > 0;) {
    q[t] = evidence(all.subspan(t), p) + g.log_survival[n - 1 - t];
    for (std::size_t s = t; s + 1 < n; ++s) {
      q[t] = add_logs(q[t], evidence(all.subspan(t, s + 1 - t), p) + q[s + 1] + g.log_mass[s + 1 - t]);
    }
  }
  return q;
}

// Every segmentation of n points as a bit mask: bit i set = a segment ends with point i.
struct Enumerated {
  std::vector<double> at, count;
  long double best = -std::numeric_limits<long double>::infinity(), total = best;
  unsigned best_mask = 0;
};

Enumerated enumerate(const std::vector<double>& y, const NormalGammaPrior& p, const LengthPrior& g) {
  const std::size_t n = y.size();
  Enumerated e;
  std::vector<long double> joint(std::size_t{1} << (n - 1));
  for (unsigned mask = 0; mask < joint.size(); ++mask) {
    long double sum = 0;
    std::size_t start = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (i + 1 == n || (mask >> i & 1)) {
        sum += evidence(std::span(y).subspan(start, i + 1 - start), p);
        sum += i + 1 == n ? g.log_survival[i - start] : g.log_mass[i + 1 - start];
        start = i + 1;
      }
    }
    joint[mask] = sum;
    e.total = mask == 0 ? sum : add_logs(e.total, sum);
    if (sum > e.best) {
      e.best = sum;
      e.best_mask = mask;
    }
  }
  e.at.assign(n - 1, 0);
  e.count.assign(n, 0);
  for (unsigned mask = 0; mask < joint.size(); ++mask) {
    const double probability = static_cast<double>(std::exp(joint[mask] - e.total));
    e.count[static_cast<std::size_t>(std::popcount(mask))] += probability;
    for (std::size_t i = 0; i + 1 < n; ++i) {
      e.at[i] += mask >> i & 1 ? probability : 0;
    }
  }
  return e;
}

std::vector<double> steps(std::size_t n, std::uint64_t seed, bool sorted) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  std::vector<double> y;
  for (std::size_t i = 0; i < n; ++i) {
    y.push_back(3.0 * static_cast<double>(4 * i / n) + 0.4 * normal(rng));
  }
  if (sorted) std::sort(y.begin(), y.end());
  return y;
}

const std::vector<double> kSpecData = {1, 1.1, 1.2, 3, 3.1, 3.3};
const NormalGammaPrior kSpecPrior = {2, .01, 1, .01};

TEST(Changepoint, EvidenceCheckValuesOfTheSpec) {  // specs/extraction.md 2.3, printed to 6 decimals
  constexpr double kHalfDigit = 5e-7;
  EXPECT_NEAR(log_segment_evidence(kSpecData, kSpecPrior), -16.108621, kHalfDigit);
  const std::span<const double> y(kSpecData);
  EXPECT_NEAR(log_segment_evidence(y.first(3), kSpecPrior) + log_segment_evidence(y.last(3), kSpecPrior),
              -2.477410,
              kHalfDigit);
}

TEST(Changepoint, LogQMatchesTheDoubleSumIncludingBlockEdges) {
  const NormalGammaPrior far = {250, 0.5, 2, 0.3};  // mu0 far from the data: the three-term form
  for (const std::size_t n : {1u, 2u, 7u, 8u, 9u, 255u, 256u, 257u, 600u}) {
    for (const auto& prior : {NormalGammaPrior{1, 1, 1, 1}, far}) {
      for (const auto& length : {LengthPrior::constant(n), LengthPrior::geometric(n, 0.02)}) {
        const std::vector<double> y = steps(n, n, n % 2 == 0);
        const std::vector<double> q = changepoint_log_q(y, prior, length);
        const std::vector<long double> want = reference_q(y, prior, length);
        for (std::size_t t = 0; t < n; ++t) {
          // The goal of design/performance.md E5: 1e-9 relative.
          ASSERT_NEAR(q[t],
                      static_cast<double>(want[t]),
                      1e-9 * std::max(1.0, std::abs(static_cast<double>(want[t]))))
              << "n = " << n << " t = " << t;
        }
      }
    }
  }
}

TEST(Changepoint, PosteriorMatchesEnumerationOfAllSegmentations) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const std::size_t n = 2 + seed % 10;
    const std::vector<double> y = steps(n, seed, seed % 2 == 0);
    const NormalGammaPrior prior = {0.5, 0.3, 1.5, 0.2};
    const LengthPrior length = seed % 3 ? LengthPrior::constant(n) : LengthPrior::geometric(n, 0.3);
    const Enumerated want = enumerate(y, prior, length);
    const ChangepointPosterior got = changepoint_posterior(y, prior, length);
    // 2^11 summands of rounding 1e-16, exponents of size 100: 1e-11 is a hundred times that.
    constexpr double kBound = 1e-11;
    EXPECT_NEAR(got.log_evidence, static_cast<double>(want.total), kBound);
    double expected = 0;
    for (std::size_t i = 0; i + 1 < n; ++i) {
      EXPECT_NEAR(got.at[i], want.at[i], kBound) << "seed " << seed << " place " << i;
      expected += want.at[i];
    }
    EXPECT_NEAR(got.expected_count, expected, kBound);
    const std::vector<double> count = changepoint_count_posterior(y, prior, length, n + 2);
    ASSERT_EQ(count.size(), n + 3);
    for (std::size_t c = 0; c < n; ++c) {
      EXPECT_NEAR(count[c], want.count[c], kBound) << "seed " << seed << " count " << c;
    }
    EXPECT_EQ(count[n], 0.0);
    const MapSegmentation map = map_segmentation(y, prior, length);
    EXPECT_NEAR(map.log_joint, static_cast<double>(want.best), kBound);
    unsigned mask = 0;
    for (std::size_t s = 1; s < map.starts.size(); ++s) {
      mask |= 1u << (map.starts[s] - 1);
    }
    EXPECT_EQ(mask, want.best_mask) << "seed " << seed;
  }
}

TEST(Changepoint, LargerDataAgreesBetweenItsThreeViews) {
  const std::size_t n = 1500;
  const std::vector<double> y = steps(n, 77, false);
  const NormalGammaPrior prior = {4, 0.1, 1, 0.1};
  const LengthPrior length = LengthPrior::geometric(n, 4.0 / static_cast<double>(n));
  const ChangepointPosterior p = changepoint_posterior(y, prior, length);
  const std::vector<double> count = changepoint_count_posterior(y, prior, length, 40);
  double total = 0, mean = 0;
  for (std::size_t c = 0; c < count.size(); ++c) {
    total += count[c];
    mean += static_cast<double>(c) * count[c];
  }
  constexpr double kBound = 1e-8;  // 1500 log-sums of size 1000 lose 1500 * 1000 * 1e-16, amplified by exp
  EXPECT_NEAR(total, 1, kBound);
  EXPECT_NEAR(mean, p.expected_count, 40 * kBound);
  const MapSegmentation map = map_segmentation(y, prior, length);
  EXPECT_EQ(map.starts, (std::vector<std::size_t>{0, 375, 750, 1125}));
  EXPECT_LT(map.log_joint, p.log_evidence);
}

TEST(Changepoint, TermsFarBelowTheSumAreCountedNotTruncated) {
  // Sorted clusters: summands are not monotone in the segment's end, so a scale guessed from near ends is
  // wrong by thousands of nats for far ones; the reference keeps them all.
  std::vector<double> y = steps(700, 5, true);
  for (double& v : y) v *= 40;
  const NormalGammaPrior prior = {200, 1e-3, 1, 1e-3};
  const LengthPrior length = LengthPrior::constant(y.size());
  const std::vector<double> q = changepoint_log_q(y, prior, length);
  const std::vector<long double> want = reference_q(y, prior, length);
  for (std::size_t t = 0; t < y.size(); t += 13) {
    ASSERT_NEAR(q[t], static_cast<double>(want[t]), 1e-9 * std::abs(static_cast<double>(want[t])))
        << "t = " << t;
  }
}

TEST(Changepoint, PruningSkipsPairsAndChangesNothing) {
  const std::size_t n = 2200;
  std::size_t visited = 0, cases = 0;
  for (const bool sorted : {false, true}) {
    for (const double scale : {1.0, 100.0}) {
      std::vector<double> y = steps(n, 21, sorted);
      for (double& v : y) v *= scale;
      const NormalGammaPrior priors[] = {{1, 1, 1, 1}, {-900 * scale, 0.5, 2, 1e-6}, {5 * scale, 40, 9, 30}};
      for (const NormalGammaPrior& prior : priors) {
        for (const auto& length : {LengthPrior::constant(n), LengthPrior::geometric(n, 0.01)}) {
          const ChangepointOptions all = {.prune = false}, some = {.visited_pairs = &visited};
          const std::vector<double> want = changepoint_log_q(y, prior, length, all);
          const std::vector<double> got = changepoint_log_q(y, prior, length, some);
          for (std::size_t t = 0; t < n; ++t) {
            // Dropped: n^2 2^-100. Left: the chunks are added in another order, a few ulp of each ln Q, which
            // the following rows inherit.
            ASSERT_NEAR(got[t], want[t], 1e-12 * std::max(1.0, std::abs(want[t]))) << "t = " << t;
          }
          const MapSegmentation full = map_segmentation(y, prior, length, all);
          const MapSegmentation pruned = map_segmentation(y, prior, length, some);
          EXPECT_EQ(pruned.log_joint, full.log_joint);
          EXPECT_EQ(pruned.starts, full.starts);
          const std::vector<double> counts = changepoint_count_posterior(y, prior, length, 30, all);
          const std::vector<double> counts_pruned = changepoint_count_posterior(y, prior, length, 30, some);
          for (std::size_t c = 0; c < counts.size(); ++c) {
            ASSERT_NEAR(counts_pruned[c], counts[c], 1e-8) << "count " << c;  // exp of ln Q at 1e-12 * 10^4
          }
          cases += 4;  // the count needs ln Q first
        }
      }
    }
  }
  EXPECT_LT(visited, cases * n * (n + 1) / 2 * 9 / 10);
  EXPECT_GT(visited, cases * n);
}

TEST(Changepoint, WithoutPruningEveryPairIsVisited) {
  const std::vector<double> y = steps(1100, 4, true);
  const LengthPrior length = LengthPrior::constant(y.size());
  std::size_t visited = 0;
  changepoint_log_q(y, {}, length, {.prune = false, .visited_pairs = &visited});
  EXPECT_EQ(visited, y.size() * (y.size() + 1) / 2);
}

TEST(Changepoint, SameBitsForAnyThreadCount) {
  const std::vector<double> y = steps(3000, 8, true);
  const NormalGammaPrior prior = {0, 1, 1, 1};
  const LengthPrior length = LengthPrior::constant(y.size());
  EXPECT_EQ(changepoint_log_q(y, prior, length, {.threads = 1}),
            changepoint_log_q(y, prior, length, {.threads = 3}));
  EXPECT_EQ(changepoint_count_posterior(y, prior, length, 5, {.threads = 1}),
            changepoint_count_posterior(y, prior, length, 5, {.threads = 3}));
  EXPECT_EQ(map_segmentation(y, prior, length, {.threads = 1}).starts,
            map_segmentation(y, prior, length, {.threads = 3}).starts);
}

TEST(Changepoint, EvidenceIsIndependentOfOrderAndFollowsScale) {
  std::vector<double> y = steps(50, 3, false);
  const double before = log_segment_evidence(y, {1, 2, 3, 4});
  std::reverse(y.begin(), y.end());
  EXPECT_NEAR(log_segment_evidence(y, {1, 2, 3, 4}), before, 1e-12 * std::abs(before));
  for (double& v : y) v *= 8;  // density of 8y: 50 factors of 1/8
  EXPECT_NEAR(
      log_segment_evidence(y, {8, 2, 3, 4 * 64}), before - 50 * std::log(8), 1e-12 * std::abs(before));
}

TEST(Changepoint, BadInputIsNamed) {
  const std::vector<double> none, one = {1}, nan = {1, std::nan("")}, huge = {1e200, -1e200};
  const LengthPrior length = LengthPrior::constant(2);
  EXPECT_MESSAGE(changepoint_log_q(none, {}, length), "changepoints: the data must hold at least one value");
  EXPECT_MESSAGE(changepoint_log_q(nan, {}, length), "the data must be finite, got nan at index 1");
  EXPECT_MESSAGE(changepoint_log_q(huge, {}, length), "too large to square");
  EXPECT_MESSAGE(changepoint_log_q(one, {0, 0, 1, 1}, length),
                 "positive finite k0, a0, b0, got (0, 0, 1, 1)");
  EXPECT_MESSAGE(map_segmentation(std::vector<double>(5, 1.0), {}, length),
                 "must cover lengths up to 5, it covers 2");
  EXPECT_MESSAGE(map_segmentation(huge, {}, length, {.max_points = 1}), "more than max_points = 1 allows");
  EXPECT_MESSAGE(LengthPrior::geometric(4, 1), "p must lie in (0, 1), got 1");
  EXPECT_EQ(map_segmentation(one, {}, length).starts, std::vector<std::size_t>{0});
  EXPECT_TRUE(changepoint_posterior(one, {}, length).at.empty());
}

}  // namespace
}  // namespace offramp::stats
