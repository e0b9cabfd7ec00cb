// The studies' measures on judgements written by hand, and the spec's check values.
#include "attacks/evasion/measures.h"

#include <gtest/gtest.h>

#include "attacks/evasion/detector.h"
#include "stats/roc.h"
#include "tests/attacks/evasion/victims.h"

namespace offramp::test {
namespace {

// predicted [n][num_exits]; the answer is the prediction at `exit`.
Judgement judgement(const std::vector<std::vector<std::int32_t>>& predicted,
                    const std::vector<std::int32_t>& exit,
                    const std::vector<std::int32_t>& labels,
                    const std::vector<std::vector<double>>& confidence = {}) {
  Judgement j{.outputs = {.num_exits = static_cast<int>(predicted[0].size()),
                          .n = static_cast<int>(predicted.size()),
                          .classes = 10,
                          .confidence = {},
                          .predicted = {},
                          .labels = labels},
              .label = {},
              .exit = exit};
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    j.outputs.predicted.insert(j.outputs.predicted.end(), predicted[i].begin(), predicted[i].end());
    for (std::size_t e = 0; e < predicted[i].size(); ++e) {
      j.outputs.confidence.push_back(confidence.empty() ? 0.5 : confidence[i][e]);
    }
    j.label.push_back(predicted[i][static_cast<std::size_t>(exit[i])]);
  }
  return j;
}

TEST(EvasionMeasures, EfficacyOfTheSpec) {
  const std::vector<double> c = {.15, .3, .45, .6, .75, .9, 1};
  EXPECT_NEAR(efficacy(c, std::vector<double>{.4, .6, .7, .8, .85, .9, 1}), .665, 1e-12);
  EXPECT_NEAR(efficacy(c, std::vector<double>{0, 0, 0, 0, 0, 0, 1}), .05, 1e-12);
  EXPECT_NEAR(efficacy(c, std::vector<double>{1, 1, 1, 1, 1, 1, 1}), .925, 1e-12);
  // More that have left: more efficacy.
  EXPECT_GT(efficacy(c, std::vector<double>{.4, .6, .7, .8, .85, .95, 1}), .665);
  EXPECT_EQ(
      error_of([&] {
        efficacy(c, std::vector<double>{.4, .3, .7, .8, .85, .9, 1});
      }),
      "efficacy: costs and shares must rise, and shares end at 1; at exit 2 they are 0.300000 and 0.300000");
  EXPECT_EQ(error_of([&] { efficacy(c, std::vector<double>{1}); }),
            "efficacy: expected a cost above 0 and a share for each exit, got 7 and 1");
}

// Confidences of exit 1: 1, .62, .42, .22; exit 1 is wrong on the last two, exit 2 never.
TEST(EvasionMeasures, PolicyByAccuracyDropIsTheCheapestThatKeepsIt) {
  const Judgement j = judgement(
      {{0, 0}, {0, 0}, {9, 0}, {9, 0}}, {0, 0, 0, 0}, {0, 0, 0, 0}, {{1, 1}, {.62, 1}, {.42, 1}, {.22, 1}});
  const LinearNet net({1, 1, 1}, 10, {weights(10, 1, 1), weights(10, 2, 1)});
  const Victim victim = victim_on(net);
  EXPECT_NEAR(
      policy_by_accuracy_drop(victim, j.outputs, 0.05).thresholds[0], 0.45, 1e-12);  // all right, two leave
  EXPECT_NEAR(
      policy_by_accuracy_drop(victim, j.outputs, 0.30).thresholds[0], 0.25, 1e-12);  // three of four right
  const Judgement bad = judgement({{9, 0}}, {0}, {0}, {{1, 1}});
  EXPECT_EQ(error_of([&] { policy_by_accuracy_drop(victim, bad.outputs, 0.05); }),
            "slowdown: no threshold of .05 to .95 keeps the accuracy of victim above 0.950000");
}

TEST(EvasionMeasures, TransferCountsWhatBothGotRightAndFoolsTheSurrogate) {
  const std::vector<std::int32_t> labels = {0, 1, 2, 3, 4};
  const std::vector<std::int32_t> first(5, 0);
  const Judgement surrogate_clean = judgement({{0}, {1}, {2}, {3}, {9}}, first, labels);
  const Judgement surrogate_attacked = judgement({{5}, {5}, {2}, {5}, {5}}, first, labels);
  const Judgement target_clean = judgement({{0}, {1}, {2}, {9}, {4}}, first, labels);
  const Judgement target_attacked = judgement({{7}, {1}, {7}, {7}, {7}}, first, labels);
  const Transfer t = transfer_of(surrogate_clean, surrogate_attacked, target_clean, target_attacked);
  EXPECT_EQ(t.clean_error.count, 1);
  EXPECT_EQ(t.unconditional.count, 4);
  EXPECT_EQ(t.unconditional.of, 5);
  EXPECT_EQ(t.fooled.count, 2);  // images 0 and 1, of 0, 1 and 2
  EXPECT_EQ(t.fooled.of, 3);
  EXPECT_EQ(t.conditional.count, 1);
  EXPECT_EQ(t.conditional.of, 2);
  EXPECT_NEAR(t.conditional.share->estimate, 0.5, 1e-12);
  EXPECT_EQ(t.hit, (std::vector<std::optional<bool>>{true, false, {}, {}, {}}));
  // No image that both classify right: no rate, no error.
  const Judgement wrong = judgement({{9}, {9}, {9}, {9}, {9}}, first, labels);
  const Transfer none = transfer_of(surrogate_clean, surrogate_attacked, wrong, target_attacked);
  EXPECT_EQ(none.conditional.of, 0);
  EXPECT_FALSE(none.conditional.share);
  EXPECT_FALSE(none.fooled.share);
  EXPECT_EQ(error_of([&] {
              transfer_of(surrogate_clean, surrogate_attacked, judgement({{0}}, {0}, {1}), target_attacked);
            }),
            "evade: judgements of different images");
}

TEST(EvasionMeasures, ExitChangeAndFirstModifiedExit) {
  const std::vector<std::int32_t> labels = {0, 1, 2, 3};
  const Judgement clean = judgement({{0, 0, 0}, {1, 1, 1}, {5, 2, 2}, {3, 3, 3}}, {0, 1, 2, 0}, labels);
  const Judgement attacked = judgement({{0, 9, 9}, {9, 1, 9}, {5, 2, 9}, {9, 9, 3}},
                                       {2, 2, 0, 0},
                                       labels,
                                       {{.5, .5, .9}, {.5, .5, .8}, {.5, .5, .1}, {.5, .5, .5}});
  const LinearNet net({1, 1, 1}, 10, {weights(10, 1, 1), weights(10, 2, 1), weights(10, 3, 1)});
  const Victim victim = victim_on(net);  // MACs 100, 200, 300
  const ExitChange change = exit_change(victim, clean, attacked);
  EXPECT_EQ(change.delta, (std::vector<int>{2, 1, -2, 0}));
  EXPECT_NEAR(change.mean, 0.25, 1e-12);
  EXPECT_EQ(change.at_least_one.count, 2);
  EXPECT_EQ(change.at_least_two.count, 1);
  EXPECT_EQ(change.negative.count, 1);
  EXPECT_EQ(change.clean, (std::vector<int>{2, 1, 1}));
  EXPECT_EQ(change.attacked, (std::vector<int>{2, 0, 2}));
  EXPECT_NEAR(change.cost_increase, 25.0 / 300, 1e-12);
  EXPECT_NEAR(change.efficacy_clean, (.25 + .625 + .875) / 3, 1e-12);
  EXPECT_NEAR(change.efficacy_attacked, (.25 + .5 + .75) / 3, 1e-12);
  EXPECT_GT(*change.correlation, 0.8);

  const FirstModified f = first_modified(clean, attacked);  // images 0, 1 and 2 lose the last exit's class
  EXPECT_EQ(f.all, (std::vector<int>{2, 1, 0}));  // image 2 was "wrong" at exit 1 already when clean
  EXPECT_EQ(f.agreed, (std::vector<int>{1, 1, 0}));
  EXPECT_EQ(f.first_exit_all.of, 3);
  EXPECT_NEAR(f.first_exit_agreed.share->estimate, 0.5, 1e-12);

  const EarlyTransfer t = early_transfer(clean, attacked);  // only image 3 keeps its last class
  EXPECT_EQ(t.t1.count, 1);
  EXPECT_EQ(t.success.count, 1);
  EXPECT_NEAR(*t.t2, 2, 1e-12);
  EXPECT_NEAR(t.clean_t2, 0.25, 1e-12);
}

TEST(EvasionMeasures, DirectionDifferenceIsZeroForEqualCellsAndSeesAnEdge) {
  Hits low, high;
  for (int i = 0; i < 200; ++i) {
    low.push_back(i % 4 == 0);
    high.push_back(i % 4 != 0);
  }
  const std::vector<Hits> d2s = {high, high}, s2d = {low};
  const auto edge = direction_difference(d2s, s2d, {.resamples = 200});
  EXPECT_NEAR(edge->estimate, 0.5, 1e-12);
  EXPECT_GT(edge->low, 0.3);
  EXPECT_EQ(direction_difference(d2s, d2s, {.resamples = 50})->high, 0);
  EXPECT_FALSE(direction_difference({}, s2d));
  EXPECT_FALSE(direction_difference(d2s, std::vector<Hits>{Hits(200)}));
}

TEST(EvasionDetector, SeesTrafficThatLeavesLate) {
  std::vector<std::vector<std::int32_t>> predicted;
  std::vector<std::vector<double>> sure, unsure;
  std::vector<std::int32_t> early, late, labels;
  const PhiloxKey draw{5, 1};
  for (int i = 0; i < 80; ++i) {
    const double u = 0.1 * static_cast<double>(draw.uniform(static_cast<std::uint64_t>(i)));
    predicted.push_back({0, 0});
    labels.push_back(0);
    sure.push_back({.85 + u, .9 + u / 2});
    unsure.push_back({.3 + u, .9 + u / 2});
    early.push_back(i % 5 == 0 ? 1 : 0);
    late.push_back(1);
  }
  const Judgement clean = judgement(predicted, early, labels, sure),
                  slow = judgement(predicted, late, labels, unsure);
  std::vector<int> first, second;
  for (int i = 0; i < 80; ++i) (i < 40 ? first : second).push_back(i);
  const TrajectoryDetector trajectory(clean, first);
  std::vector<double> of_slow, of_clean;
  for (const int row : second) {
    of_slow.push_back(trajectory.score(slow, row));
    of_clean.push_back(trajectory.score(clean, row));
  }
  EXPECT_EQ(stats::roc_curve(of_slow, of_clean).auc, 1);
  const HistogramDetector histogram(clean, first);
  EXPECT_GT(histogram.score(slow, second), histogram.score(clean, second) + 10);
  EXPECT_NEAR(histogram.score(clean, first), 0, 0.1);
  EXPECT_EQ(error_of([&] { TrajectoryDetector(clean, std::vector<int>{1}); }),
            "detector: expected at least two clean images to learn from");
}

// Log-odds of the clean images at the two internal classifiers: 0 and 2, mean 1 and deviation 1; 0 and 8, mean 4 and deviation 4.
TEST(EvasionDetector, StandardisesEachExit) {
  const auto p = [](double log_odds) { return 1 / (1 + std::exp(-log_odds)); };
  const std::vector<std::vector<std::int32_t>> predicted(4, {0, 0, 0});
  const Judgement j = judgement(predicted,
                                {2, 2, 2, 2},
                                {0, 0, 0, 0},
                                {{p(0), p(0), 1}, {p(2), p(8), 1}, {p(1), p(8), 1}, {p(0), p(-4), 1}});
  const TrajectoryDetector detector(j, std::vector<int>{0, 1});
  EXPECT_NEAR(detector.score(j, 2), -0.5, 1e-9);  // -(0 + 1) / 2
  EXPECT_NEAR(detector.score(j, 3), 1.5, 1e-9);   // -(-1 - 2) / 2
}

}  // namespace
}  // namespace offramp::test
