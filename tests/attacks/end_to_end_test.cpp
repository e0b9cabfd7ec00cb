// A whole extraction in seconds: a tiny victim that really stops early, seen through answers and simulated
// times.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "attacks/extraction/images.h"
#include "attacks/extraction/scoreboard.h"
#include "attacks/extraction/strategy_search.h"
#include "attacks/extraction/substitute_training.h"
#include "attacks/extraction/victim.h"
#include "attacks/query/query_run.h"
#include "nets/exits/early_exit.h"
#include "stats/exits/exit_estimation.h"
#include "tests/attacks/tiny.h"
#include "tests/support/temp_folder.h"

namespace offramp::attacks {
namespace {

// The owner's net behind a black box whose clock is simulated: 50 us and 20 us per further exit, noise of 2
// us.
class SimulatedClock final : public BlackBox {
 public:
  SimulatedClock(const nets::Network& net, const nets::ExitPolicy& policy) : net_(net), policy_(policy) {}
  int classes() const override { return net_.classes(); }
  Answer query(const Tensor& images, Timing) override {
    const auto result = nets::infer(net_, policy_, images.to(net_.device()));
    Answer answer;
    answer.probabilities = Tensor::from<float>(
        {result.n, result.classes}, std::span<const float>(result.probabilities), Device::cpu());
    answer.labels = labels_of(answer.probabilities);
    const PhiloxKey noise{3, 17};
    for (const auto exit : result.exit) {
      double sum = -6;  // of twelve uniforms: variance 1
      for (int i = 0; i < 12; ++i) sum += static_cast<double>(noise.uniform(drawn_++));
      answer.nanoseconds.push_back(std::llround(50000 + 20000 * (exit - 1) + 2000 * sum));
    }
    return answer;
  }

 private:
  const nets::Network& net_;
  nets::ExitPolicy policy_;
  std::uint64_t drawn_ = 0;
};

TEST(Extraction, FindsTheExitsAndCopiesAnswersAndStrategy) {
  // The owner: a net that knows the bars, thresholds at the medians of its confidences, so that every exit is
  // used.
  const auto train = test::bars(400, 1), queries = test::bars(400, 2), unseen = test::bars(300, 3);
  auto victim = test::tiny_net(5);
  {
    std::vector<float> truth;
    for (const auto label : train.labels)
      for (int c = 0; c < 3; ++c) truth.push_back(label == c ? 1.0f : 0.0f);
    Fit owner(*victim,
              {.method = FitMethod::kKnockoff, .epochs = 6, .batch_size = 50, .learning_rate = 0.05},
              train,
              {truth, {}});
    while (!owner.trainer().done()) owner.trainer().step();
  }
  nets::ExitPolicy policy{.thresholds = {}, .rule = nets::ExitRule::kAbove};
  const auto table = exit_table(*victim, train);
  for (std::size_t e = 0; e < 2; ++e) {
    std::vector<double> column;
    for (std::size_t i = 0; i < 400; ++i) column.push_back(table.confidence[3 * i + e]);
    std::nth_element(column.begin(), column.begin() + 240, column.end());
    policy.thresholds.push_back(column[240]);
  }

  // The attack.
  test::TempFolder folder;
  SimulatedClock box(*victim, policy);
  const Trace trace = query_victim(box, image_source(queries), folder.path(), {});
  EXPECT_EQ(trace.repetitions, 10);
  const auto estimate = stats::estimate_exits(trace.times_as_double(), 10, {.order = trace.order});
  ASSERT_EQ(estimate.num_exits, 3u);
  const std::vector<std::int32_t> exits(estimate.exits.begin(), estimate.exits.end());
  nets::NetOptions base = test::tiny_options(1);
  nets::Network copy(substitute_options(base, 3), test::one_thread());
  nets::initialize(copy, 99);
  Fit fit(copy, {.epochs = 8, .batch_size = 50, .learning_rate = 0.05}, queries, {trace.outputs, exits});
  while (!fit.trainer().done()) fit.trainer().step();
  const auto confidences = exit_table(copy, queries);
  const auto found = search_strategy(confidences, exits, {});

  // The score. Neighbouring exits are ten sigma apart, so each image is put where it left.
  const auto rows = scoreboard({{"victim", victim.get(), policy}, {"copy", &copy, found.policy}},
                               unseen,
                               &queries,
                               {.timed_images = 20, .timed_passes = 1});
  EXPECT_EQ(score_exits(rows[0].on_queries.exit, 3, exits, 3).accuracy, 1.0);
  EXPECT_EQ(rows[0].test.class_and_exit, 1.0);
  EXPECT_EQ(rows[0].ratio_macs, 1.0);
  EXPECT_GT(rows[0].mean_ns, 0);
  EXPECT_GT(rows[1].ratio_time, 0);
  // J on the queries is what the search says, and no less than what the victim's own thresholds reach.
  EXPECT_TRUE(found.search.optimal);
  EXPECT_EQ(std::round(rows[1].queries.only_exit * 400), found.search.value);
  const Behaviour borrowed = behaviour_of(copy, policy_for(policy, 3), queries);
  EXPECT_GE(rows[1].queries.only_exit, agreement_of(rows[0].on_queries, borrowed).only_exit);
  // A copy that learnt nothing would agree in class on a third and in exit on about two fifths.
  EXPECT_GT(rows[1].queries.only_class, 0.6);
  EXPECT_GT(rows[1].queries.only_exit, 0.45);
  EXPECT_LE(rows[1].queries.class_and_exit, std::min(rows[1].queries.only_class, rows[1].queries.only_exit));
}

TEST(Scoreboard, TheVictimAgainstItselfIsEqualInEverything) {
  const auto test_set = test::bars(40, 3);
  const auto net = test::tiny_net(5);
  const nets::ExitPolicy policy{.thresholds = {0.5, 0.5}};
  const auto rows = scoreboard(
      {{"victim", net.get(), policy}, {"same", net.get(), policy}}, test_set, nullptr, {.timed_images = 0});
  EXPECT_EQ(rows[1].test.class_and_exit, 1.0);
  EXPECT_EQ(rows[1].ratio_ops_profiler, 1.0);
  EXPECT_EQ(rows[1].ratio_macs, 1.0);
  EXPECT_EQ(rows[1].accuracy, rows[0].accuracy);
  EXPECT_EQ(rows[1].mean_ns, 0);
}

TEST(Scoreboard, ReportsEveryImageOfEveryNetAndStopsWhereTheReportThrows) {
  const auto test_set = test::bars(40, 3), queries = test::bars(30, 4);
  const auto net = test::tiny_net(5);
  const nets::ExitPolicy policy{.thresholds = {0.5, 0.5}};
  const std::vector<Contestant> two = {{"victim", net.get(), policy}, {"same", net.get(), policy}};
  std::int64_t done = 0;
  ScoreOptions options{.timed_images = 60, .timed_passes = 2};
  options.report = [&done](int images) { done += images; };
  static_cast<void>(scoreboard(two, test_set, &queries, options));
  EXPECT_EQ(done, 2 * (40 + 30 + 2 * 40));
  EXPECT_EQ(images_to_score(2, test_set, &queries, options), done);
  options.report = [](int) { throw std::runtime_error("stop"); };
  EXPECT_THROW(static_cast<void>(scoreboard(two, test_set, nullptr, options)), std::runtime_error);
  done = 0;
  static_cast<void>(exit_table(*net, test_set, [&done](int images) { done += images; }));
  EXPECT_EQ(done, 40);
}

TEST(Scoreboard, TheOneThreadCopyGivesTheSameBits) {
  const auto images = test::bars(9, 3);
  const auto net = test::tiny_net(5);
  const auto copy = one_thread_copy(*net);
  EXPECT_EQ(exit_table(*copy, images).confidence, exit_table(*net, images).confidence);
}

}  // namespace
}  // namespace offramp::attacks
