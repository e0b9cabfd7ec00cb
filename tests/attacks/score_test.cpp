#include "attacks/extraction/score.h"

#include <gtest/gtest.h>

#include "attacks/extraction/strategy_search.h"
#include "attacks/extraction/victim.h"
#include "tests/attacks/message.h"
#include "tests/attacks/tiny.h"

namespace offramp::attacks {
namespace {

TEST(Score, AgreementCountsClassAndExitTogetherAndAlone) {
  const Behaviour victim{{0, 1, 2, 0}, {1, 2, 3, 3}, {}};
  const Behaviour copy{{0, 1, 0, 1}, {1, 3, 3, 2}, {}};
  const Agreement a = agreement_of(victim, copy);
  EXPECT_EQ(a.class_and_exit, 0.25);
  EXPECT_EQ(a.only_class, 0.5);
  EXPECT_EQ(a.only_exit, 0.5);
  const Agreement self = agreement_of(victim, victim);
  EXPECT_EQ(self.class_and_exit, 1);
  const std::vector<std::int32_t> truth = {0, 0, 2, 0};
  EXPECT_EQ(accuracy_of(victim, truth), 0.75);
}

TEST(Score, SpendingAddsTheCostOfTheExitTaken) {
  nets::NetCosts costs;
  costs.exits = {{.macs = 10, .ops_profiler = 100}, {.macs = 25, .ops_profiler = 300}};
  const Spending s = spending_of({{0, 0, 0}, {1, 2, 1}, {}}, costs);
  EXPECT_EQ(s.macs, 45);
  EXPECT_EQ(s.ops_profiler, 500);
  EXPECT_EQ(s.per_exit, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(test::message_of([&] { spending_of({{0}, {3}, {}}, costs); }), "cost: exit 3 of a net with 2");
}

TEST(Score, ExitsAreComparedWithTheTruth) {
  const std::vector<std::int32_t> truth = {1, 2, 2, 3}, estimated = {1, 2, 1, 2};
  const ExitScore s = score_exits(truth, 3, estimated, 2);
  EXPECT_EQ(s.accuracy, 0.5);
  EXPECT_FALSE(s.count_right);
  const std::vector<std::vector<std::int64_t>> counts = {{1, 0}, {1, 1}, {0, 1}};
  EXPECT_EQ(s.counts, counts);
  EXPECT_TRUE(score_exits(truth, 3, truth, 3).count_right);
  EXPECT_EQ(test::message_of([&] { score_exits(truth, 2, estimated, 2); }),
            "exit accuracy: exits 3 and 2 of sample 3 are not in 1..2 and 1..2");
  EXPECT_EQ(test::message_of([&] { score_exits({}, 2, {}, 2); }),
            "exit accuracy: expected as many samples on both sides and at least one, got 0 and 0");
}

TEST(Score, TheVictimsThresholdsFitOtherExitCountsAsTheirMean) {
  nets::ExitPolicy victim;
  victim.thresholds = {0.9, 0.7};
  EXPECT_EQ(policy_for(victim, 3).thresholds, victim.thresholds);
  const auto two = policy_for(victim, 2), four = policy_for(victim, 4);
  EXPECT_EQ(two.thresholds, std::vector<double>{(0.9 + 0.7) / 2});
  EXPECT_EQ(four.thresholds, std::vector<double>(3, (0.9 + 0.7) / 2));
  victim.rule = nets::ExitRule::kAbove;
  victim.fallback = nets::Fallback::kMostConfident;
  EXPECT_EQ(policy_for(victim, 4).rule, nets::ExitRule::kAbove);
  EXPECT_EQ(policy_for(victim, 4).fallback, nets::Fallback::kMostConfident);
  EXPECT_EQ(test::message_of([] { policy_for({}, 3); }), "policy: the victim has no thresholds to take over");
}

TEST(Score, BehaviourThroughTheBlackBoxIsTheNetsOwn) {
  const auto set = test::bars(20, 4);
  const auto net = test::tiny_net(6);
  nets::ExitPolicy policy;
  const nets::ExitOutputs table = exit_table(*net, set);
  for (std::size_t e = 0; e < 2; ++e) {  // half the images reach the median
    std::vector<double> column;
    for (std::size_t i = 0; i < 20; ++i) column.push_back(table.confidence[3 * i + e]);
    std::nth_element(column.begin(), column.begin() + 10, column.end());
    policy.thresholds.push_back(column[10]);
  }
  const Behaviour b = behaviour_of(*net, policy, set);
  std::vector<std::vector<int>> seen(4);
  for (std::size_t i = 0; i < 20; ++i) {
    int exit = 3;
    for (int e = 1; e >= 0; --e)
      if (table.confidence[3 * i + static_cast<std::size_t>(e)] >=
          policy.thresholds[static_cast<std::size_t>(e)])
        exit = e + 1;
    EXPECT_EQ(b.exit[i], exit) << i;
    EXPECT_EQ(b.label[i], table.predicted[3 * i + static_cast<std::size_t>(exit - 1)]);
    seen[static_cast<std::size_t>(exit)].push_back(static_cast<int>(i));
  }
  EXPECT_FALSE(seen[1].empty());
  EXPECT_FALSE(seen[2].empty());
  const VictimFunction victim = early_exit_victim(*net, policy);
  std::vector<float> p(3);
  const ImageSource source = [&] {
    return ImageSource{set.n, [&](std::span<const std::int32_t> indices) {
                         std::vector<float> pixels;
                         for (const auto i : indices)
                           for (const auto byte : set.image(i))
                             pixels.push_back(static_cast<float>(byte) / 255.0f);
                         return Tensor::from<float>(
                             {static_cast<std::int64_t>(indices.size()), 1, 8, 8}, pixels, Device::cpu());
                       }};
  }();
  for (std::int32_t i = 0; i < 20; ++i) {
    victim(source.load(std::vector<std::int32_t>{i}), p);
    EXPECT_EQ(*std::max_element(p.begin(), p.end()), b.confidence[static_cast<std::size_t>(i)]) << i;
  }
}

TEST(StrategySearch, LeavesWhereTheVictimLeft) {
  // The worked example of specs/extraction.md 4.3: the joint optimum is 6.
  const nets::ExitOutputs table{.num_exits = 3,
                                .confidence = {.99, .92, .96, .80, .97, .99, .95, .60, .90, .70, .98, .99,
                                               .55, .65, .97, .90, .93, .95, .85, .50, .88, .97, .85, .70},
                                .predicted = std::vector<std::int32_t>(24, 1)};
  const std::vector<std::int32_t> exits = {1, 2, 1, 2, 3, 3, 1, 2};
  const StrategyResult joint = search_strategy(confidences_of(table, exits, {}));
  EXPECT_EQ(joint.search.value, 6);
  EXPECT_TRUE(joint.search.optimal);
  EXPECT_EQ(joint.policy.rule, nets::ExitRule::kAbove);
  int matched = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    matched +=
        nets::choose_exit(joint.policy, std::span(table.confidence).subspan(3 * i, 3)).stopped + 1 == exits[i]
            ? 1
            : 0;
  }
  EXPECT_EQ(matched, 6);
  // With classes only samples count whose class at that exit is the victim's: the first four here.
  const std::vector<std::int32_t> labels = {1, 1, 1, 1, 0, 0, 0, 0};
  EXPECT_EQ(search_strategy(confidences_of(table, exits, labels)).search.value, 4);
}

// The first samples with their own confidences, exits and weights; a weight counts for what it is.
TEST(StrategySearch, TheFirstSamplesKeepWhatIsTheirs) {
  const Confidences all{
      .num_exits = 2, .values = {.9, 1, .8, 1, .2, 1, .1, 1}, .exits = {1, 2, 2, 1}, .weights = {1, 5, 2, 9}};
  Confidences first = all;
  first.keep_first(3);
  EXPECT_EQ(first.values, (std::vector<double>{.9, 1, .8, 1, .2, 1}));
  EXPECT_EQ(first.exits, (std::vector<std::int32_t>{1, 2, 2}));
  EXPECT_EQ(first.weights, (std::vector<double>{1, 5, 2}));
  EXPECT_EQ(search_strategy(first).search.value, 8);
  EXPECT_EQ(search_strategy(all).search.value, 10);  // the fourth leaves only where the two that stay do
  Confidences same = all;
  same.keep_first(0);
  EXPECT_EQ(same.exits, all.exits);
  EXPECT_EQ(test::message_of([&] { same.keep_first(5); }),
            "search: thresholds are wanted from the first 5 samples, there are 4");
}

TEST(StrategySearch, WrongUseIsNamedAndOneExitIsTrivial) {
  const nets::ExitOutputs one{.num_exits = 1, .confidence = {.5, .6}, .predicted = {0, 0}};
  const std::vector<std::int32_t> exits = {1, 1}, many = {1, 1, 1};
  const auto trivial = search_strategy(confidences_of(one, exits, {}));
  EXPECT_TRUE(trivial.policy.thresholds.empty());
  EXPECT_EQ(trivial.search.value, 2);
  // Of two samples that leave where they must one says something else than the victim.
  const std::vector<std::int32_t> labels = {0, 1};
  const auto classes = search_strategy(confidences_of(one, exits, labels));
  EXPECT_EQ(classes.search.value, 1);
  EXPECT_EQ(classes.joint, 1);
  EXPECT_EQ(test::message_of([&] { confidences_of(one, many, {}); }),
            "strategy search: expected 2 confidences to be 3 x 1 and a class for each sample or none, got 0");
}

}  // namespace
}  // namespace offramp::attacks
