#include "stats/search/threshold_choice.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

struct Data {
  std::vector<double> confidences, costs;
  std::vector<int> correct;
  ExitOutcomes outcomes(ExitRule rule = ExitRule::kAtLeast, Fallback fallback = Fallback::kLast) const {
    return {confidences, correct, costs, rule, fallback};
  }
};

Data draw(std::size_t n, std::size_t k, int levels, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::uniform_real_distribution<double> uniform;
  Data d;
  for (std::size_t e = 0; e < k; ++e) d.costs.push_back(1 + static_cast<double>(e * e));
  for (std::size_t i = 0; i < n * k; ++i) {
    const double c = std::floor(uniform(rng) * levels) / levels;
    d.confidences.push_back(c);
    d.correct.push_back(uniform(rng) < 0.3 + 0.6 * c + 0.1 * static_cast<double>(i % k) ? 1 : 0);
  }
  return d;
}

// Definition, sample by sample, sharing nothing with the library.
std::pair<double, double> run(const Data& d, const std::vector<double>& t, ExitRule rule, Fallback fallback) {
  const std::size_t k = d.costs.size(), n = d.correct.size() / k;
  double right = 0, cost = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double* c = &d.confidences[i * k];
    std::size_t e = 0;
    while (e < k - 1 && !(rule == ExitRule::kAbove ? c[e] > t[e] : c[e] >= t[e])) ++e;
    std::size_t answer = e;
    if (e == k - 1 && fallback == Fallback::kMostConfident) {
      answer = static_cast<std::size_t>(std::max_element(c, c + k) - c);
    }
    right += d.correct[i * k + answer];
    cost += d.costs[e];
  }
  return {right / static_cast<double>(n), cost / static_cast<double>(n)};
}

std::vector<double> every_tau(const Data& d, std::size_t only_exit, bool all_exits) {
  std::set<double> values;
  const std::size_t k = d.costs.size();
  for (std::size_t i = 0; i < d.confidences.size(); ++i) {
    if (i % k < k - 1 && (all_exits || i % k == only_exit)) values.insert(d.confidences[i]);
  }
  std::vector<double> taus = {1e9};
  double before = -1;
  for (const double v : values) {
    taus.push_back((before + v) / 2);
    before = v;
  }
  return taus;
}

const double kSums = 1e-12;  // a few hundred additions of numbers of order 1

TEST(ThresholdChoice, EvaluationFollowsTheRulesAndFallbacks) {
  for (const auto rule : {ExitRule::kAtLeast, ExitRule::kAbove}) {
    for (const auto fallback : {Fallback::kLast, Fallback::kMostConfident}) {
      const Data d = draw(200, 4, 5, 3);  // five levels: confidences equal to the thresholds
      const std::vector<double> t = {0.8, 0.6, 0.4};
      const OperatingPoint p = evaluate_thresholds(d.outcomes(rule, fallback), t);
      const auto [accuracy, cost] = run(d, t, rule, fallback);
      EXPECT_NEAR(p.accuracy, accuracy, kSums);
      EXPECT_NEAR(p.mean_cost, cost, kSums);
      EXPECT_EQ(p.exit_counts[0] + p.exit_counts[1] + p.exit_counts[2] + p.exit_counts[3], 200u);
    }
  }
}

TEST(ThresholdChoice, OneThresholdIsTheBestOfAllTaus) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    const Data d = draw(40, 2 + seed % 4, seed % 2 ? 6 : 1 << 20, seed);
    const auto rule = seed % 3 ? ExitRule::kAtLeast : ExitRule::kAbove;
    const auto fallback = seed % 5 ? Fallback::kLast : Fallback::kMostConfident;
    double cheapest = 1e9, most_right = -1;
    const double floor = 0.7, budget = 0.6 * d.costs.back();
    for (const double tau : every_tau(d, 0, true)) {
      const auto [accuracy, cost] = run(d, std::vector<double>(d.costs.size() - 1, tau), rule, fallback);
      if (accuracy >= floor - 1e-9) cheapest = std::min(cheapest, cost);
      if (cost <= budget) most_right = std::max(most_right, accuracy);
    }
    const auto by_accuracy = choose_one_threshold(d.outcomes(rule, fallback), {.min_accuracy = floor});
    ASSERT_EQ(by_accuracy.has_value(), cheapest < 1e9) << "seed " << seed;
    if (by_accuracy) {
      EXPECT_NEAR(by_accuracy->mean_cost, cheapest, kSums) << "seed " << seed;
      EXPECT_GE(by_accuracy->accuracy, floor - 1e-9);
    }
    const auto by_cost = choose_one_threshold(d.outcomes(rule, fallback), {.max_mean_cost = budget});
    ASSERT_EQ(by_cost.has_value(), most_right >= 0);
    if (by_cost) {
      EXPECT_NEAR(by_cost->accuracy, most_right, kSums) << "seed " << seed;
      EXPECT_LE(by_cost->mean_cost, budget + kSums);
    }
  }
}

TEST(ThresholdChoice, ThresholdsPerExitAreNeverWorseAndNoSingleChangeImprovesThem) {
  for (std::uint64_t seed = 1; seed <= 15; ++seed) {
    const Data d = draw(60, 4, seed % 2 ? 8 : 1 << 20, seed);
    const auto one = choose_one_threshold(d.outcomes(), {.min_accuracy = 0.75});
    const auto each = choose_thresholds(d.outcomes(), {.min_accuracy = 0.75});
    ASSERT_EQ(one.has_value(), each.has_value());
    if (!each) continue;
    EXPECT_LE(each->mean_cost, one->mean_cost + kSums);
    EXPECT_GE(each->accuracy, 0.75 - 1e-9);
    for (std::size_t e = 0; e < 3; ++e) {
      for (const double tau : every_tau(d, e, false)) {
        std::vector<double> t = each->thresholds;
        t[e] = tau;
        const auto [accuracy, cost] = run(d, t, ExitRule::kAtLeast, Fallback::kLast);
        EXPECT_TRUE(accuracy < 0.75 - 1e-9 || cost > each->mean_cost - 1e-9)
            << "seed " << seed << " exit " << e;
      }
    }
  }
}

// Of points that meet the goal equally well the one that is better in the other: fewer operations, or more right.
TEST(ThresholdChoice, OfEqualsTheOtherNumberDecides) {
  // Sample 0 is right at both exits, sample 1 at the end alone: whether sample 0 leaves or not, all are right.
  const Data d{.confidences = {.9, 1, .5, 1}, .costs = {1, 2}, .correct = {1, 1, 0, 1}};
  for (const auto& choose : {choose_one_threshold, choose_thresholds}) {
    const auto best = choose(d.outcomes(), {.max_mean_cost = 2});
    ASSERT_TRUE(best);
    EXPECT_EQ(best->accuracy, 1);
    EXPECT_EQ(best->mean_cost, 1.5);
  }
  // Equal costs, where sample 0 is right at the first exit alone and sample 1 at the last.
  const Data even{.confidences = {.9, 1, .5, 1}, .costs = {2, 2}, .correct = {1, 0, 0, 1}};
  const auto both = choose_one_threshold(even.outcomes(), {.min_accuracy = 0});
  ASSERT_TRUE(both);
  EXPECT_EQ(both->accuracy, 1);
}

TEST(ThresholdChoice, GridsOfTheReferenceCodes) {
  EXPECT_EQ(sdn_taus().size(), 11u);
  EXPECT_EQ(ccs_taus().size(), 21u);
  EXPECT_EQ(ccs_taus().back(), 1);
  EXPECT_EQ(deepsloth_taus().size(), 19u);
  EXPECT_EQ(deepsloth_taus().front(), 0.05);
  EXPECT_EQ(deepsloth_taus().back(), 0.95);
  const Data d = draw(300, 3, 1 << 20, 2);
  const auto chosen = choose_deepsloth(d.outcomes(), 0.05);
  ASSERT_TRUE(chosen.has_value());
  double last = 0;
  for (std::size_t i = 0; i < 300; ++i) last += d.correct[3 * i + 2] / 300.0;
  EXPECT_GT(chosen->accuracy, 0.95 * last);
  for (const OperatingPoint& p : sweep_thresholds(d.outcomes(), deepsloth_taus())) {
    EXPECT_TRUE(p.accuracy <= 0.95 * last || p.mean_cost >= chosen->mean_cost);
  }
  // The end has two of ten right, everybody's first exit one: half as much, though only a tenth less.
  Data rare{.confidences = {}, .costs = {1, 2}, .correct = {}};
  for (int i = 0; i < 10; ++i) {
    rare.confidences.insert(rare.confidences.end(), {i == 0 ? .99 : .5, 1});
    rare.correct.insert(rare.correct.end(), {i == 0, i < 2});
  }
  const auto kept = choose_deepsloth(rare.outcomes(), 0.15);
  ASSERT_TRUE(kept);
  EXPECT_NEAR(kept->accuracy, .2, kSums);
  EXPECT_NEAR(choose_deepsloth(rare.outcomes(), 0.6)->accuracy, .1, kSums);
}

TEST(ThresholdChoice, MsdnetBudgetByHand) {
  // n = 4, K = 3, p = 1: q = 1/3 each, floor(4/3) = 1 sample an exit.
  const std::vector<double> c = {.9, .1, .5, .8, .7, .5, .3, .95, .5, .2, .6, .5};
  EXPECT_EQ(msdnet_thresholds(c, 3, 1), (std::vector<double>{.9, .95}));
  // p = 1/2: q = 4/7, 2/7, 1/7: 2, 1. Exit 1 takes .9 and .8; of the rest exit 2 takes .95.
  EXPECT_EQ(msdnet_thresholds(c, 3, 0.5), (std::vector<double>{.8, .95}));
  // p = 0.05: floor(4 * 0.9500..) = 3, then floor(4 * .0475) = 0: nobody, 1e8.
  EXPECT_EQ(msdnet_thresholds(c, 3, 0.05), (std::vector<double>{.3, 1e8}));
  EXPECT_EQ(msdnet_budgets().size(), 39u);
  EXPECT_EQ(msdnet_budgets().back(), 1.95);
}

TEST(ThresholdChoice, MsdnetSharesFollowTheBudget) {
  const Data d = draw(5000, 4, 1 << 20, 4);
  for (const double p : {0.5, 1.0, 1.5}) {
    const OperatingPoint point = evaluate_thresholds(d.outcomes(), msdnet_thresholds(d.confidences, 4, p));
    const double sum = p + p * p + p * p * p + p * p * p * p;
    for (std::size_t k = 0; k < 3; ++k) {
      EXPECT_EQ(point.exit_counts[k],
                static_cast<std::size_t>(std::floor(5000 * std::pow(p, static_cast<double>(k + 1)) / sum)));
    }
  }
}

TEST(ThresholdChoice, BadInputIsNamed) {
  Data d = draw(5, 3, 10, 1);
  EXPECT_MESSAGE(choose_one_threshold(d.outcomes(), {}), "set either min_accuracy or max_mean_cost");
  EXPECT_MESSAGE(evaluate_thresholds(d.outcomes(), std::vector<double>{1}), "equal lengths, got 2 and 3");
  d.correct[4] = 2;
  EXPECT_MESSAGE(evaluate_thresholds(d.outcomes(), std::vector<double>{1, 1}),
                 "correct must be 0 or 1, got 2 at index 4");
  d = draw(5, 3, 10, 1);
  d.costs = {3, 2, 1};
  EXPECT_MESSAGE(sweep_thresholds(d.outcomes(), sdn_taus()), "costs must ascend with the exits");
  d.costs = {1};
  EXPECT_MESSAGE(choose_thresholds(d.outcomes(), {.min_accuracy = 0.5}),
                 "at least 2 exits are needed, costs hold 1");
  d = draw(5, 3, 10, 1);
  d.confidences.clear();
  EXPECT_MESSAGE(evaluate_thresholds(d.outcomes(), std::vector<double>{1, 1}),
                 "confidences must hold samples x 3 values, got 0");
  EXPECT_MESSAGE(msdnet_thresholds(std::vector<double>{1, 2, 3}, 2, 1), "got 3 values and 2 exits");
  EXPECT_MESSAGE(msdnet_thresholds(std::vector<double>{1, 2}, 2, 0), "p must be positive and finite, got 0");
}

}  // namespace
}  // namespace offramp::stats
