#include "nets/exits/evaluation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "nets/exits/choose_policy.h"
#include "nets/exits/early_exit.h"
#include "tests/nets/nets.h"
#include "tests/nets/training/memory_source.h"

namespace offramp::nets {
namespace {

using test::drawn;
using test::message_of;

// Three exits, four samples, two classes; each pair is the probability of class 0 and whether that is right.
//   sample      label   p0 at exit 1, 2, 3      right at
//   0           0       .9  .8  .7              1 2 3
//   1           0       .6  .4  .3              1        (destructive)
//   2           1       .8  .3  .2                2 3
//   3           1       .7  .9  .6              never
ExitOutputs example() {
  ExitOutputs out{
      .num_exits = 3, .n = 4, .classes = 2, .confidence = {}, .predicted = {}, .labels = {0, 0, 1, 1}};
  const float p0[4][3] = {{.9f, .8f, .7f}, {.6f, .4f, .3f}, {.8f, .3f, .2f}, {.7f, .9f, .6f}};
  for (const auto& sample : p0) {
    for (const float p : sample) {
      out.probabilities.push_back(p);
      out.probabilities.push_back(1 - p);
      out.confidence.push_back(static_cast<double>(std::max(p, 1 - p)));
      out.predicted.push_back(p > 0.5f ? 0 : 1);
    }
  }
  return out;
}

constexpr double kFloat = 4 * 0x1p-24;  // a few roundings of probabilities to float

TEST(Evaluation, AccuracyAndLossPerExit) {
  EXPECT_EQ(accuracy(example()), (std::vector<double>{0.5, 0.5, 0.5}));
  const std::vector<double> loss = mean_loss(example());
  EXPECT_NEAR(loss[0], -(std::log(.9) + std::log(.6) + std::log(.2) + std::log(.3)) / 4, kFloat * 8);
  EXPECT_NEAR(loss[1], -(std::log(.8) + std::log(.4) + std::log(.7) + std::log(.1)) / 4, kFloat * 16);
  EXPECT_NEAR(loss[2], -(std::log(.7) + std::log(.3) + std::log(.8) + std::log(.4)) / 4, kFloat * 8);
  ExitOutputs unlike = example();
  unlike.predicted[unlike.at(3, 1)] = 1;
  unlike.predicted[unlike.at(0, 2)] = 1;
  EXPECT_EQ(accuracy(unlike), (std::vector<double>{0.5, 0.75, 0.25}));
}

// specs: training 5, worked by hand with relative costs .2, .6, 1.
TEST(Evaluation, OverthinkingOfTheWorkedExample) {
  const double cost[] = {.2, .6, 1};
  const Overthinking o = overthinking(example(), cost);
  EXPECT_EQ(o.cumulative_accuracy, (std::vector<double>{.5, .75, .75}));
  EXPECT_DOUBLE_EQ(o.oracle_cost, (.2 + .2 + .6 + 1) / 4);
  EXPECT_EQ(o.destructive, 1);
  EXPECT_EQ(o.destructive_per_exit, (std::vector<std::int64_t>{1, 0}));
  EXPECT_DOUBLE_EQ(o.destructive_share, 0.5);  // one of two final errors
  EXPECT_NEAR(o.confidence_destructive[0], .6 / 1.1, kFloat);
  EXPECT_NEAR(o.confidence_destructive[1], 0, kFloat);
  EXPECT_NEAR(o.confidence_right[0], (.9 + .6) / 2.1, kFloat);
  EXPECT_NEAR(o.confidence_right[1], (.8 + .7) / 2.1, kFloat);
  const double two[] = {.2, 1};
  EXPECT_EQ(message_of([&] { overthinking(example(), two); }),
            "overthinking: expected a relative cost for each of 3 exits, got 2");
}

TEST(Evaluation, ConfusionOfTheWorkedExample) {
  // sum over exits of 2 |p0 - p0 of the last exit|: .4 + .2, .6 + .2, 1.2 + .2, .2 + .6
  const std::vector<double> d = confusion(example());
  const double want[] = {.6, .8, 1.4, .8};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(d[i], want[i], 8 * kFloat);
  const ConfusionScale scale = confusion_scale(want);
  EXPECT_NEAR(scale.mean, .9, 1e-15);
  EXPECT_NEAR(scale.deviation, std::sqrt((.09 + .01 + .25 + .01) / 4), 1e-15);
  const ConfusionSummary summary = confusion_summary(example(), scale);  // right at the end: 0 and 2
  EXPECT_NEAR(summary.right, ((.6 + 1.4) / 2 - .9) / scale.deviation, 64 * kFloat);
  EXPECT_NEAR(summary.wrong, ((.8 + .8) / 2 - .9) / scale.deviation, 64 * kFloat);
}

TEST(Evaluation, APolicyPaysForTheExitsThatItTakes) {
  NetCosts costs;
  costs.exits = {{0, 10, 20}, {0, 30, 70}, {0, 100, 210}};
  costs.plain = {0, 80, 200};
  ExitPolicy policy;
  policy.thresholds = {.75, .75};
  const PolicyResult result = apply(policy, example(), costs);
  EXPECT_EQ(result.histogram, (std::vector<std::int64_t>{2, 1, 1}));  // .9 and .8; then .9; then sample 1
  EXPECT_EQ(result.accuracy, 0.25);  // only sample 0 is right where it leaves
  EXPECT_EQ(result.mean_macs, (10 + 10 + 30 + 100) / 4.0);
  EXPECT_EQ(result.mean_ops_profiler, (20 + 20 + 70 + 210) / 4.0);
  EXPECT_EQ(result.relative_macs, result.mean_macs / 80);
  EXPECT_EQ(result.relative_ops_profiler, result.mean_ops_profiler / 200);
  // Sample 1 is most confident at the end (.7); with a third exit less sure than the first it would answer
  // there.
  policy.fallback = Fallback::kMostConfident;
  policy.thresholds = {.95, .95};
  const PolicyResult fallback = apply(policy, example(), costs);
  EXPECT_EQ(fallback.histogram, (std::vector<std::int64_t>{0, 0, 4}));
  EXPECT_EQ(fallback.accuracy,
            0.25);  // 0 at exit 1; 1 wrong at the end; 2 wrong at .8 or right at .8: the earlier
}

TEST(Evaluation, WhoNeedsNoProbabilitiesKeepsNone) {
  const auto net = drawn(test::small_options("resnet-8"), 7);
  test::MemorySource source(net->input(), net->classes(), 11, 4, 3);
  const ExitOutputs all = exit_outputs(*net, source);
  std::vector<int> seen;
  const ExitOutputs few = exit_outputs(
      *net, source, [&](int done, int) { seen.push_back(done); }, Keep::kConfidences);
  EXPECT_EQ(seen, (std::vector<int>{4, 8, 11}));
  EXPECT_TRUE(few.probabilities.empty());
  EXPECT_EQ(few.confidence, all.confidence);
  EXPECT_EQ(few.predicted, all.predicted);
  EXPECT_EQ(few.labels, all.labels);
  ASSERT_EQ(all.probabilities.size(), 11U * 3 * 5);
  for (int i = 0; i < 11; ++i) {
    for (int e = 0; e < 3; ++e) {
      const std::vector<float> row(all.row(i, e), all.row(i, e) + 5);
      const auto top = std::max_element(row.begin(), row.end());
      EXPECT_EQ(all.confidence[all.at(i, e)], static_cast<double>(*top));
      EXPECT_EQ(all.predicted[all.at(i, e)], top - row.begin());
    }
  }
}

// A batch of 130 goes through the net in parts.
TEST(Evaluation, AnswersDoNotDependOnTheBatch) {
  const auto net = drawn(test::small_options("resnet-8"), 7);
  test::MemorySource whole(net->input(), net->classes(), 130, 130, 3),
      pieces(net->input(), net->classes(), 130, 9, 3);
  const ExitOutputs a = exit_outputs(*net, whole), b = exit_outputs(*net, pieces);
  EXPECT_EQ(a.probabilities, b.probabilities);
  EXPECT_EQ(a.confidence, b.confidence);
  EXPECT_EQ(a.predicted, b.predicted);
  EXPECT_EQ(a.labels, b.labels);
  ASSERT_EQ(a.probabilities.size(), 130U * 3 * 5);
}

// The worked example: the end is right on half; leaving at .9 costs 2 x .2 + 2 x 1 for the same half.
TEST(ChoosePolicy, TakesTheCheapestWithinTheDropAndTheBestWithinTheBudget) {
  const double costs[] = {.2, .6, 1};
  const auto cheap = choose_policy(example(), costs, {.max_drop = 0.0});
  ASSERT_TRUE(cheap);
  EXPECT_EQ(cheap->last_exit_accuracy, 0.5);
  EXPECT_GE(cheap->accuracy, 0.5);
  EXPECT_EQ(cheap->mean_cost, .2);  // half are right at the first exit too
  // The first exit may be worse than the last by a quarter, and not by less.
  ExitOutputs worse = example();
  worse.predicted[worse.at(1, 0)] = 1;
  const auto quarter = choose_policy(worse, costs, {.max_drop = .25}),
             less = choose_policy(worse, costs, {.max_drop = .2});
  ASSERT_TRUE(quarter && less);
  EXPECT_EQ(quarter->accuracy, .25);
  EXPECT_EQ(quarter->mean_cost, .2);
  EXPECT_GE(less->accuracy, .3);
  EXPECT_GT(less->mean_cost, .2);
  NetCosts as_net;
  as_net.exits = {{0, 20, 1}, {0, 60, 1}, {0, 100, 1}};
  as_net.plain = {0, 100, 1};
  for (const Thresholds kind : {Thresholds::kOne, Thresholds::kPerExit}) {
    for (const ExitRule rule : {ExitRule::kAtLeast, ExitRule::kAbove}) {
      for (const Fallback fallback : {Fallback::kLast, Fallback::kMostConfident}) {
        for (const double budget : {.25, .65, 1.0}) {
          const auto choice = choose_policy(
              example(),
              costs,
              {.max_mean_cost = budget, .thresholds = kind, .rule = rule, .fallback = fallback});
          ASSERT_TRUE(choice);
          EXPECT_EQ(choice->policy.rule, rule);
          EXPECT_EQ(choice->policy.fallback, fallback);
          EXPECT_LE(choice->mean_cost, budget);
          // What the policy does with the samples, told by the other counter.
          const PolicyResult applied = apply(choice->policy, example(), as_net);
          EXPECT_DOUBLE_EQ(applied.accuracy, choice->accuracy);
          EXPECT_NEAR(applied.mean_macs / 100, choice->mean_cost, 1e-12);
        }
      }
    }
  }
  EXPECT_FALSE(choose_policy(example(), costs, {.max_mean_cost = .1}));
  EXPECT_NE(message_of([&] { static_cast<void>(choose_policy(example(), costs, {})); }).find("set either"),
            std::string::npos);
}

TEST(Evaluation, OutputsAgreeWithRealEarlyExit) {
  const auto net = drawn(test::small_options("resnet-8"), 7);
  test::MemorySource source(net->input(), net->classes(), 30, 8, 3);
  const ExitOutputs out = exit_outputs(*net, source);
  ASSERT_EQ(out.n, 30);
  ExitPolicy policy = ExitPolicy::uniform(3, 0);
  for (std::size_t e = 0; e < 2; ++e) {
    policy.thresholds[e] = out.confidence[out.at(7, static_cast<int>(e))];
  }
  const PolicyResult batched = apply(policy, out, net->costs());
  std::vector<std::int64_t> histogram(3, 0);
  std::int64_t right = 0;
  source.start(1, 0);
  for (int b = 0; b < source.batches(); ++b) {
    const Batch batch = source.next();
    const EarlyExitResult result = infer(*net, policy, batch.inputs);
    const auto labels = batch.labels.to_host<std::int32_t>();
    for (std::size_t i = 0; i < labels.size(); ++i) {
      ++histogram[static_cast<std::size_t>(result.exit[i] - 1)];
      right += result.label[i] == labels[i] ? 1 : 0;
    }
  }
  EXPECT_EQ(batched.histogram, histogram);
  EXPECT_DOUBLE_EQ(batched.accuracy, static_cast<double>(right) / 30);
}

}  // namespace
}  // namespace offramp::nets
