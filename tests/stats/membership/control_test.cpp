#include "stats/membership/control.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

std::vector<double> normals(std::size_t n, double mean, std::mt19937_64& rng) {
  std::normal_distribution<double> normal(mean, 1);
  std::vector<double> x(n);
  for (double& v : x) v = normal(rng);
  return x;
}

TEST(DelongAuc, ByHand) {
  // Placements of positives 2, 3 among 1, 2: .75, 1; of negatives 1, 2: 1, .75. AUC .875, variances .03125 / 2 each.
  const std::vector<double> p = {2, 3}, n = {1, 2};
  const Interval auc = delong_auc(p, n);
  EXPECT_EQ(auc.estimate, .875);
  const double reach = 1.959963984540054 * std::sqrt(.03125) / (.875 * .125);
  EXPECT_NEAR(auc.low, 1 / (1 + std::exp(reach) / 7), 1e-12);
  EXPECT_NEAR(auc.high, 1 / (1 + std::exp(-reach) / 7), 1e-12);
  // Half of the time: .674 deviations.
  const Interval even = delong_auc(p, n, .5);
  const double even_reach = .6744897501960817 * std::sqrt(.03125) / (.875 * .125);
  EXPECT_NEAR(even.low, 1 / (1 + std::exp(even_reach) / 7), 1e-12);
  EXPECT_NEAR(even.high, 1 / (1 + std::exp(-even_reach) / 7), 1e-12);
  // Separated, the larger side does not matter: twice in order with probability .158 each is .025.
  const std::vector<double> above = {5, 6, 7};
  const Interval apart = delong_auc(above, n), below = delong_auc(n, above);
  EXPECT_EQ(apart.estimate, 1);
  EXPECT_NEAR(apart.low, std::sqrt(.025), 1e-12);
  EXPECT_EQ(apart.high, 1);
  EXPECT_EQ(below.low, 0);
  EXPECT_NEAR(below.high, 1 - std::sqrt(.025), 1e-12);
}

TEST(DelongAuc, HoldsTheTruthAsOftenAsItSays) {
  std::mt19937_64 rng(7);
  for (const double mean : {1.0, 2.5, 3.5}) {  // of 20 and 30 scores at 3.5 apart a third are separated
    const std::size_t n = mean == 1 ? 80 : mean == 2.5 ? 30 : 20;
    const double truth = .5 * std::erfc(-mean / 2);  // P(N(mean,1) > N(0,1)) = Phi(mean / sqrt 2)
    int inside = 0;
    for (int trial = 0; trial < 400; ++trial) {
      const Interval auc = delong_auc(normals(n, mean, rng), normals(n, 0, rng));
      inside += auc.low <= truth && truth <= auc.high ? 1 : 0;
    }
    EXPECT_GT(inside, 400 * .95 - 3.3 * std::sqrt(400 * .95 * .05)) << mean;
  }
}

TEST(MemberControl, PassesWhereHalvesAreAlike) {
  std::mt19937_64 rng(3);
  const MemberControl control = member_control(normals(400, 0, rng));
  EXPECT_TRUE(control.passed);
  EXPECT_GE(control.inside, 175u);
  EXPECT_NEAR(control.mean_auc, .5, .01);
  EXPECT_TRUE(member_control(std::vector<double>(50, 3.0)).passed);  // constant scores: AUC 0.5 exactly
}

// Four of 1,252 members have another score than the rest: every eighth halving puts all four on one side.
TEST(MemberControl, ScoresOfTwoValuesAreNoFault) {
  for (const std::size_t wrong : {3u, 4u, 5u, 6u, 8u}) {
    std::vector<double> scores(1252, 1.0);
    std::fill_n(scores.begin(), wrong, 0.0);
    std::size_t passed = 0;
    for (std::uint64_t seed = 1; seed <= 30; ++seed) passed += member_control(scores, 200, seed).passed;
    EXPECT_EQ(passed, 30u) << wrong;
  }
}

// Halves that differ: the lower of two neighbours goes to the first one more often.
TEST(MemberControl, FailsWhereHalvesAreNotDrawnAtRandom) {
  const Halving unfair = [](std::span<double> scores, std::mt19937_64& rng) {
    halve_at_random(scores, rng);
    const std::size_t half = scores.size() / 2;
    for (std::size_t i = 0; i < half; ++i)
      if (scores[i] > scores[half + i] && rng() % 2 == 0) std::swap(scores[i], scores[half + i]);
  };
  std::mt19937_64 rng(4);
  EXPECT_FALSE(member_control(normals(400, 0, rng), 200, 1, unfair).passed);
  for (const std::size_t wrong : {4u, 40u}) {
    std::vector<double> scores(1252, 1.0);
    std::fill_n(scores.begin(), wrong, 0.0);
    const Halving sorted = [](std::span<double> s, std::mt19937_64&) { std::sort(s.begin(), s.end()); };
    EXPECT_FALSE(member_control(scores, 200, 1, sorted).passed) << wrong;
    if (wrong == 40) {
      EXPECT_FALSE(member_control(scores, 200, 1, unfair).passed);
    }
  }
}

TEST(MemberControl, BadInputIsNamed) {
  EXPECT_MESSAGE(member_control(std::vector<double>{1, 2, 3}), "at least four members, got 3");
  EXPECT_MESSAGE(member_control(std::vector<double>{1, 2, 3, std::nan("")}), "NaN");
}

}  // namespace
}  // namespace offramp::stats
