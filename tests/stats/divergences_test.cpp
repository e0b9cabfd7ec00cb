#include "stats/divergences.h"

#include <cmath>
#include <limits>
#include <random>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

const std::vector<double> kP = {.5, .3, .2}, kQ = {.1, .4, .5};
constexpr double kRounding = 1e-15;

TEST(Divergences, CheckValueOfTheSpec) {  // specs/membership.md 8, printed to 6 decimals
  constexpr double kHalfDigit = 5e-7;
  EXPECT_NEAR(js_divergence(kP, kQ), 0.158071, kHalfDigit);
  EXPECT_NEAR(js_divergence(kP, kQ, LogBase::kNats), 0.109567, kHalfDigit);
}

TEST(Divergences, KlByTheFormulaAndItsLimits) {
  const double want = .5 * std::log2(5.0) + .3 * std::log2(.75) + .2 * std::log2(.4);
  EXPECT_NEAR(kl_divergence(kP, kQ), want, 4 * kRounding);
  EXPECT_EQ(kl_divergence(kP, kP), 0);
  const std::vector<double> one = {1, 0}, other = {0, 1};
  EXPECT_EQ(kl_divergence(one, other), std::numeric_limits<double>::infinity());
  EXPECT_EQ(js_divergence(one, other), 1);
  EXPECT_EQ(js_divergence(one, one), 0);
}

TEST(Divergences, JsIsSymmetricBoundedAndIgnoresScaleAndOrder) {
  std::mt19937_64 rng(1);
  std::uniform_real_distribution<double> uniform;
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<double> p(7), q(7), p2(7), q2(7);
    for (std::size_t i = 0; i < 7; ++i) {
      p[i] = p2[6 - i] = uniform(rng);
      q[i] = q2[6 - i] = uniform(rng);
    }
    for (double& v : p2) v *= 3;
    const double js = js_divergence(p, q);
    EXPECT_GT(js, 0);
    EXPECT_LT(js, 1);
    EXPECT_NEAR(js_divergence(q, p), js, 10 * kRounding);
    EXPECT_NEAR(js_divergence(p2, q2), js, 10 * kRounding);
  }
}

TEST(Divergences, BinsEndAtTheQuantileAndTheLastTakesTheRest) {
  std::vector<double> a, b;
  for (int i = 0; i < 200; ++i) a.push_back(i * 0.01);
  for (int i = 0; i < 199; ++i) b.push_back(i * 0.01);
  b.push_back(1000);
  const BinnedPair bins = bin_losses(a, b, 10);
  // Type-7 quantile of 400 pooled values at .995 * 399 = 397.005: the 397th from 0 is 1.98, the next 1.99.
  EXPECT_NEAR(bins.top, 1.98 + .005 * .01, 1e-12);
  ASSERT_EQ(bins.first.size(), 10u);
  EXPECT_EQ(bins.second.back(), 21);  // 1.79 .. 1.98, and 1000
  double total = 0;
  for (const double c : bins.first) total += c;
  EXPECT_EQ(total, 200);
  EXPECT_EQ(bins.first[0], 20);
  const std::vector<double> zero(5, 0.0);
  EXPECT_EQ(loss_js_divergence(zero, zero), 0);
  EXPECT_EQ(loss_js_divergence(std::vector<double>(50, 0.0), std::vector<double>(50, 2.0)), 1);
}

// Losses of one kind are as far apart as dealing them out gives, the fewer the farther; others are farther than that.
TEST(Divergences, ChanceExplainsFewLossesOfOneKind) {
  std::mt19937_64 rng(5);
  const auto losses = [&](std::size_t n, double mean) {
    std::exponential_distribution<double> draw(1 / mean);
    std::vector<double> v(n);
    for (double& x : v) x = draw(rng);
    return v;
  };
  double below = 0, js = 0, chance = 0;
  for (int i = 0; i < 40; ++i) {
    const auto a = losses(200, 1), b = losses(200, 1);
    const LossDivergence d = loss_divergence_test(a, b, 100, 100, static_cast<std::uint64_t>(i));
    EXPECT_EQ(d.js_bits, loss_js_divergence(a, b, 100));
    js += d.js_bits / 40;
    chance += d.by_chance / 40;
    below += d.p_value < .2 ? 1 : 0;
  }
  EXPECT_NEAR(js, .15, .02);
  EXPECT_NEAR(js, chance, .01);
  EXPECT_LE(below, 16);  // of 40, one in five expected
  const LossDivergence many = loss_divergence_test(losses(5000, 1), losses(5000, 1));
  EXPECT_LT(many.by_chance, .01);
  const LossDivergence apart = loss_divergence_test(losses(200, 1), losses(200, 3));
  EXPECT_EQ(apart.p_value, 1. / 201);
  EXPECT_GT(apart.js_bits, apart.by_chance + .05);
  EXPECT_THROW(loss_divergence_test(losses(2, 1), losses(2, 1), 100, 0), ValueError);
  // Every dealing out of equal losses is as far apart as they are.
  const std::vector<double> equal(30, 2.0);
  EXPECT_EQ(loss_divergence_test(equal, equal).p_value, 1);
}

TEST(Divergences, BadInputIsNamed) {
  const std::vector<double> none, negative = {1, -1, 1}, zero = {0, 0, 0}, nan = {1, std::nan(""), 0},
                                  two = {1, 2};
  EXPECT_MESSAGE(kl_divergence(kP, two), "kl_divergence: p and q must have equal lengths, got 3 and 2");
  EXPECT_MESSAGE(js_divergence(kP, negative), "js_divergence: weights must not be negative, got -1");
  EXPECT_MESSAGE(js_divergence(zero, kP), "weights must have a positive sum, got 0");
  EXPECT_MESSAGE(js_divergence(nan, kP), "weights must be finite, got nan at index 1");
  EXPECT_MESSAGE(bin_losses(none, two), "bin_losses: the first sample must hold at least one value");
  EXPECT_MESSAGE(bin_losses(two, negative), "losses must not be negative, got -1");
  EXPECT_MESSAGE(bin_losses(two, two, 0), "at least one bin is needed, got 0");
}

}  // namespace
}  // namespace offramp::stats
