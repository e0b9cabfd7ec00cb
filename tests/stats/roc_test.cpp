#include "stats/roc.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

std::vector<double> draw(std::size_t n, double mean, bool ties, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal(mean, 1);
  std::vector<double> x;
  for (std::size_t i = 0; i < n; ++i) x.push_back(ties ? std::round(normal(rng)) : normal(rng));
  return x;
}

TEST(Roc, AucIsTheShareOfCorrectOrdersTiesHalf) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const std::vector<double> p = draw(1 + seed * 3, 0.8, seed % 2 == 0, seed),
                              n = draw(7 + seed, 0, seed % 2 == 0, 100 + seed);
    double wins = 0;
    for (const double a : p) {
      for (const double b : n) wins += a > b ? 1 : a == b ? 0.5 : 0;
    }
    const double pairs = static_cast<double>(p.size() * n.size());
    EXPECT_NEAR(roc_curve(p, n).auc, wins / pairs, 1e-15 * pairs);
    EXPECT_NEAR(roc_curve(n, p).auc, 1 - wins / pairs, 1e-15 * pairs);
  }
}

TEST(Roc, PointsCountDecisionsAtEveryScore) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const std::vector<double> p = draw(30, 1, seed % 2, seed), n = draw(20, 0, seed % 2, 50 + seed);
    const Roc roc = roc_curve(p, n);
    EXPECT_EQ(roc.points.front().tpr, 0);
    EXPECT_EQ(roc.points.back().tpr, 1);
    EXPECT_EQ(roc.points.back().fpr, 1);
    double best = 0.5, best_tpr = 0;
    for (const RocPoint& point : roc.points) {
      const auto reach = [&](const std::vector<double>& v) {
        return static_cast<double>(
                   std::count_if(v.begin(), v.end(), [&](double s) { return s >= point.threshold; })) /
               static_cast<double>(v.size());
      };
      EXPECT_EQ(point.tpr, reach(p));
      EXPECT_EQ(point.fpr, reach(n));
      best = std::max(best, (reach(p) + 1 - reach(n)) / 2);
      if (reach(n) <= 0.1) best_tpr = std::max(best_tpr, reach(p));
    }
    EXPECT_EQ(best_balanced_accuracy(roc), best);
    EXPECT_EQ(tpr_at_fpr(roc, 0.1), best_tpr);
  }
}

TEST(Roc, SeparatedScoresAndUselessScores) {
  const std::vector<double> high = {3, 4, 5}, low = {0, 1, 2}, same = {1, 1, 1};
  EXPECT_EQ(roc_curve(high, low).auc, 1);
  EXPECT_EQ(tpr_at_fpr(roc_curve(high, low), 0), 1);
  EXPECT_EQ(roc_curve(same, same).auc, 0.5);
  EXPECT_EQ(tpr_at_fpr(roc_curve(same, same), 0.01), 0);
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(roc_curve(std::vector<double>{inf}, std::vector<double>{-inf}).auc, 1);
}

TEST(Roc, BootstrapIntervalsCoverAndRepeat) {
  const std::vector<double> p = draw(400, 1, false, 3), n = draw(300, 0, false, 4);
  const Interval auc = auc_interval(p, n, {.resamples = 500, .threads = 1});
  // Two normals one deviation apart: AUC = Phi(1/sqrt 2).
  const double truth = 0.5 * std::erfc(-0.5);
  EXPECT_LT(auc.low, truth);
  EXPECT_GT(auc.high, truth);
  EXPECT_EQ(auc.estimate, roc_curve(p, n).auc);
  EXPECT_LT(auc.high - auc.low, 0.1);
  const Interval again = auc_interval(p, n, {.resamples = 500, .threads = 3});
  EXPECT_EQ(again.low, auc.low);
  EXPECT_EQ(again.high, auc.high);
  const Interval tpr = tpr_at_fpr_interval(p, n, 0.01, {.resamples = 300});
  EXPECT_LE(tpr.low, tpr.estimate);
  EXPECT_GE(tpr.high, tpr.estimate);
  const Interval often = tpr_at_fpr_interval(p, n, 0.5, {.resamples = 300});
  EXPECT_EQ(often.estimate, tpr_at_fpr(roc_curve(p, n), 0.5));
  EXPECT_GT(often.low, tpr.high);
}

TEST(Roc, BadInputIsNamed) {
  const std::vector<double> none, one = {1}, nan = {1, std::nan("")};
  EXPECT_MESSAGE(roc_curve(none, one), "roc_curve: positive scores must hold at least one value");
  EXPECT_MESSAGE(roc_curve(one, none), "roc_curve: negative scores must hold at least one value");
  EXPECT_MESSAGE(roc_curve(one, nan), "negative scores must not hold NaN, got one at index 1");
}

}  // namespace
}  // namespace offramp::stats
