// A whole extraction in seconds: a tiny victim that really stops early, seen through answers and simulated
// times.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "attacks/extraction/exit_times.h"
#include "attacks/extraction/extraction.h"
#include "nets/exits/early_exit.h"
#include "nets/graph/state_dict.h"
#include "tests/attacks/fake_victim.h"
#include "tests/attacks/message.h"
#include "tests/attacks/tiny.h"
#include "tests/support/temp_folder.h"

namespace offramp::attacks {
namespace {

// The owner's net behind a black box whose clock is simulated: 50 us and 20 us per further exit, noise of 2
// us.
class SimulatedClock final : public BlackBox {
 public:
  enum class Noise {
    kPerQuery,  // new with every query
    kPerImage,  // the same whenever an image is asked: what a run that was stopped cannot change
  };
  SimulatedClock(const nets::Network& net, const nets::ExitPolicy& policy, Noise noise = Noise::kPerQuery)
      : net_(net), policy_(policy), noise_(noise) {}
  int classes() const override { return net_.classes(); }
  Answer query(const Tensor& images, Timing) override {
    const auto result = nets::infer(net_, policy_, images.to(net_.device()));
    Answer answer;
    answer.probabilities = Tensor::from<float>(
        {result.n, result.classes}, std::span<const float>(result.probabilities), Device::cpu());
    answer.labels = labels_of(answer.probabilities);
    const PhiloxKey noise{3, 17};
    const auto pixels = images.to_host<float>();
    const std::size_t size = pixels.size() / result.exit.size();
    for (std::size_t i = 0; i < result.exit.size(); ++i) {
      if (noise_ == Noise::kPerImage) drawn_ = fingerprint(std::span(pixels).subspan(i * size, size)) >> 1;
      const auto exit = result.exit[i];
      double sum = -6;  // of twelve uniforms: variance 1
      for (int u = 0; u < 12; ++u) sum += static_cast<double>(noise.uniform(drawn_++));
      answer.nanoseconds.push_back(std::llround(50000 + 20000 * (exit - 1) + 2000 * sum));
    }
    return answer;
  }

 private:
  const nets::Network& net_;
  nets::ExitPolicy policy_;
  Noise noise_;
  std::uint64_t drawn_ = 0;
};

// What a run told: its steps in order, what was left of each at the end.
class Heard final : public Listener {
 public:
  std::vector<std::string> steps;
  std::map<std::string, std::int64_t> left;
  int stops_after = -1, asked = 0;  // questions; -1: never stops

  void progress(const std::string& name,
                std::int64_t total,
                std::int64_t done,
                const std::string&,
                const Fields&) override {
    if (steps.empty() || steps.back() != name) steps.push_back(name);
    left[name] = total - done;
  }
  bool stop_requested() override { return stops_after >= 0 && asked++ >= stops_after; }
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

  // The attack, one call.
  test::TempFolder folder;
  nets::save_checkpoint(folder / "victim.safetensors", *victim, policy);
  SimulatedClock box(*victim, policy);
  ExtractionPlan plan;
  plan.folder = folder / "run";
  plan.victim = folder / "victim.safetensors";
  plan.black_box = &box;
  plan.queries = queries;
  plan.test = unseen;
  plan.device = test::one_thread();
  plan.copy.net = test::tiny_options(1);
  plan.copy.fit = {.epochs = 8, .batch_size = 50, .seed = 99, .learning_rate = 0.05};
  plan.copy.weight_decay = 5e-4;
  plan.with_knockoff = false;
  plan.score = {.timed_images = 20, .timed_passes = 1};
  Heard heard;
  const ExtractionOutcome out = run_extraction(plan, heard);
  EXPECT_EQ(out.trace.repetitions, 10);
  EXPECT_EQ(out.queries.at("ours"), 400 * 10 + 300 * 20);  // with the pilot that chose the ten
  ASSERT_EQ(out.estimate.num_exits, 3u);
  EXPECT_EQ(heard.steps,
            (std::vector<std::string>{"pilot", "query", "fit substitute", "confidences", "score"}));
  for (const std::string& step : heard.steps) EXPECT_EQ(heard.left.at(step), 0) << step;

  // The score. Neighbouring exits are ten sigma apart, so each image is put where it left.
  const auto& rows = out.scores;
  const auto& found = out.strategy;
  EXPECT_EQ(out.exits.accuracy, 1.0);
  EXPECT_EQ(rows[0].test.class_and_exit, 1.0);
  EXPECT_EQ(rows[0].ratio_macs, 1.0);
  EXPECT_TRUE(rows[0].timed() && rows[1].timed() && rows[1].queried());
  EXPECT_GT(rows[1].ratio_time, 0);
  // J on the queries is what the search says, and no less than what the victim's own thresholds reach.
  EXPECT_TRUE(found.search.optimal);
  EXPECT_EQ(std::round(rows[1].queries.only_exit * 400), found.search.value);
  const Behaviour borrowed = behaviour_of(*out.contestants[1].net, policy_for(policy, 3), queries);
  EXPECT_GE(rows[1].queries.only_exit, agreement_of(rows[0].on_queries, borrowed).only_exit);
  // A copy that learnt nothing would agree in class on a third and in exit on about two fifths.
  EXPECT_GT(rows[1].queries.only_class, 0.6);
  EXPECT_GT(rows[1].queries.only_exit, 0.45);
  EXPECT_LE(rows[1].queries.class_and_exit, std::min(rows[1].queries.only_class, rows[1].queries.only_exit));

  // The files hold what the outcome says, and the same call only reads them: nobody is asked, nothing is trained.
  const auto strategy = read_thresholds(plan.folder / "strategy.json");
  EXPECT_EQ(strategy, found.policy.thresholds);
  const auto confidences = read_confidences(plan.folder / "confidences.csv");
  EXPECT_EQ(search_strategy(confidences).policy.thresholds, strategy);
  EXPECT_EQ(read_assignment(plan.folder / "assignment.csv"), confidences.exits);
  Heard second;
  const ExtractionOutcome again = run_extraction(plan, second);
  EXPECT_EQ(again.strategy.policy.thresholds, strategy);
  EXPECT_EQ(std::count(second.steps.begin(), second.steps.end(), "query"), 0);

  // Where the class counts too, the search's value is CLO on the queries.
  plan.counts = Counts::kClassAndExit;
  Heard third;
  const ExtractionOutcome both = run_extraction(plan, third);
  EXPECT_EQ(both.strategy.search.value, std::round(both.scores[1].queries.class_and_exit * 400));
  EXPECT_GE(both.scores[1].queries.class_and_exit, rows[1].queries.class_and_exit);

  // Told the true exits the copy learns from them, whatever the estimate found; how good that was is said of it.
  plan.true_exits = true;
  plan.estimate.options.known_exits = 1;
  Heard fourth;
  const ExtractionOutcome told = run_extraction(plan, fourth);
  EXPECT_EQ(told.fitted_exits, told.true_exits);
  const auto at_first = std::count(told.true_exits.begin(), told.true_exits.end(), 1);
  EXPECT_EQ(told.exits.accuracy, static_cast<double>(at_first) / 400);
  EXPECT_FALSE(told.exits.count_right);
}

TEST(Extraction, StopsWhereItIsAskedAndGoesOnToTheSameBits) {
  const auto images = test::bars(60, 2);
  const auto net = test::tiny_net(5);
  const nets::ExitPolicy policy{.thresholds = {0.4, 0.4}};
  const auto run = [&](const std::filesystem::path& folder, int stops_after) {
    SimulatedClock box(*net, policy, SimulatedClock::Noise::kPerImage);
    ExtractionPlan plan;
    plan.folder = folder;
    plan.black_box = &box;  // a stranger's victim: no owner, no score
    plan.queries = images;
    plan.device = test::one_thread();
    plan.query.repetitions = 4;
    plan.copy.net = test::tiny_options(1);
    plan.copy.fit = {.epochs = 3, .batch_size = 20, .learning_rate = 0.05};
    plan.estimate.options.known_exits = 2;
    Heard heard;
    heard.stops_after = stops_after;
    return run_extraction(plan, heard);
  };
  test::TempFolder whole, parts;
  const ExtractionOutcome expected = run(whole.path(), -1);
  EXPECT_TRUE(expected.scores.empty());
  ASSERT_EQ(expected.contestants.size(), 2u) << "the baseline and ours";
  for (const int after : {1, 4, 3}) EXPECT_THROW(run(parts.path(), after), Stopped) << after;
  run(parts.path(), -1);
  EXPECT_EQ(test::read_text(parts / "confidences.csv").size(),
            test::read_text(whole / "confidences.csv").size());
}

TEST(Extraction, APlanThatCannotBeIsNamedBeforeAnyWork) {
  const auto message = [](auto change) {
    test::TempFolder folder;
    ExtractionPlan plan;
    plan.folder = folder / "run";
    plan.victim = folder / "none.safetensors";
    plan.queries = test::bars(6, 1);
    change(plan);
    Listener listener;
    const std::string said = test::message_of([&] { run_extraction(plan, listener); });
    EXPECT_FALSE(std::filesystem::exists(folder / "run"));
    return said;
  };
  EXPECT_EQ(message([](auto& p) { p.folder.clear(); }), "extraction: a folder for its files is wanted");
  EXPECT_EQ(message([](auto& p) { p.victim.clear(); }),
            "extraction: a victim is wanted: a checkpoint, or a black box");
  EXPECT_EQ(message([](auto& p) { p.queries = {}; }), "extraction: query images are wanted");
  EXPECT_EQ(message([](auto& p) { p.from_knockoff = true, p.with_knockoff = false; }),
            "extraction: a copy that starts from the baseline needs the baseline");
  EXPECT_EQ(message([](auto& p) { p.search.first = 7; }),
            "search: thresholds are wanted from the first 7 images, there are 6");
  EXPECT_EQ(message([](auto& p) {
              p.copy.net.name = "fcn-18-1";
            }).find("copy: fcn-18-1 takes rows of features, the images want one of "),
            0u);
}

TEST(Extraction, TheVersionsOfThePaperAreTheirMethods) {
  ExtractionPlan plan;
  plan.search.options.others = stats::SeparableOthers::kRemaining;
  as_published(Version::kV1, plan);
  EXPECT_EQ(plan.estimate.options.method, stats::EstimationMethod::kChangepoints);
  EXPECT_EQ(plan.search.options.objective, stats::SearchObjective::kJoint);
  as_published(Version::kV2, plan);
  EXPECT_EQ(plan.estimate.options.method, stats::EstimationMethod::kDensity);
  EXPECT_EQ(plan.search.options.objective, stats::SearchObjective::kSeparable);
  EXPECT_EQ(plan.search.options.others, stats::SeparableOthers::kAll);
}

// Slow spells are divided out where the order of the times is known, unless that is not wanted.
TEST(Stages, TheEstimateTakesRawTimesWhereItIsTold) {
  test::TempFolder folder;
  test::FakeVictim victim({.sigma_ns = 1500, .spell = 70, .noise_follows_the_call = true});
  const Trace trace = query_victim(victim, test::numbered_images(400), folder.path(), {.repetitions = 10});
  Listener nobody;
  for (const bool raw : {false, true}) {
    const Estimated e = estimate_stage(
        {trace.times_as_double(), 10, trace.order, {}}, {.raw_times = raw}, Device::cpu(), nobody);
    EXPECT_EQ(e.json.at("speed_divided_out"), !raw);
    EXPECT_EQ(e.estimate.evened, !raw);
  }
}

TEST(Stages, TheSearchTakesTheFirstImagesWhereItIsTold) {
  const Confidences c{
      .num_exits = 2, .values = {.9, 1, .8, 1, .2, 1, .1, 1}, .exits = {1, 2, 2, 1}, .weights = {}};
  Listener nobody;
  EXPECT_EQ(search_stage(c, {.first = 3}, Device::cpu(), nobody).json.at("samples"), 3);
  EXPECT_EQ(search_stage(c, {.first = 3}, Device::cpu(), nobody).strategy.joint, 3);
  EXPECT_EQ(search_stage(c, {}, Device::cpu(), nobody).json.at("samples"), 4);
}

// The owner's times: so many images, each through every exit, with what else an answer takes.
TEST(Stages, TheOwnerTimesAFewImagesThroughEveryExit) {
  const auto net = test::tiny_net(5);
  const auto set = test::bars(12, 3);
  std::int64_t also = 0;
  ExitTimeOptions options{.images = 5, .repetitions = 2};
  options.also = [&also](const Tensor& image) { also += image.shape()[0]; };
  const ExitTimes times = exit_times(*net, image_source(set), options);
  ASSERT_EQ(times.ns.size(), 3u);
  for (const auto& of_exit : times.ns) EXPECT_EQ(of_exit.size(), 10u);
  EXPECT_GE(also, 3 * 5 * 2);
  options.images = 50;
  EXPECT_EQ(exit_times(*net, image_source(set), options).ns[2].size(), 24u);
  const auto policy = nets::ExitPolicy::uniform(3, 0.4);
  const std::vector<int> taken = exits_taken(*net, policy, image_source(set));
  const auto behaviour = behaviour_of(*net, policy, set);
  for (std::size_t i = 0; i < 12; ++i) EXPECT_EQ(taken[i] + 1, behaviour.exit[i]) << i;
}

TEST(CopyPlan, AGivenWeightDecayStandsAgainstTheReferences) {
  CopyPlan plan;
  plan.net.name = "vgg-16";
  plan.fit.weight_decay = 7;
  EXPECT_EQ(plan.options(FitMethod::kStrategy).weight_decay, 5e-4);
  EXPECT_EQ(plan.options(FitMethod::kKnockoff).method, FitMethod::kKnockoff);
  plan.weight_decay = 0.25;
  EXPECT_EQ(plan.options(FitMethod::kStrategy).weight_decay, 0.25);
}

// All leave the victim at its first exit and the copy, the same net, at its last: what each costs is known.
TEST(Scoreboard, RatiosAreTheCopysToTheVictims) {
  const auto test_set = test::bars(40, 3), queries = test::bars(30, 4);
  const auto net = test::tiny_net(5);
  const auto& costs = net->costs();
  const auto rows = scoreboard({{"victim", net.get(), nets::ExitPolicy::uniform(3, 0)},
                                {"copy", net.get(), nets::ExitPolicy::uniform(3, 2)}},
                               test_set,
                               &queries,
                               {.timed_images = 0});
  const auto ratio = [](auto last, auto first) {
    return static_cast<double>(last) / static_cast<double>(first);
  };
  EXPECT_DOUBLE_EQ(rows[1].ratio_macs, ratio(costs.exits[2].macs, costs.exits[0].macs));
  EXPECT_DOUBLE_EQ(rows[1].ratio_ops_profiler,
                   ratio(costs.exits[2].ops_profiler, costs.exits[0].ops_profiler));
  EXPECT_GT(rows[1].ratio_macs, 1);
  EXPECT_EQ(rows[1].spending.macs, 40.0 * static_cast<double>(costs.exits[2].macs));
  EXPECT_EQ(rows[0].plain_ops_profiler, 40.0 * static_cast<double>(costs.plain.ops_profiler));
  EXPECT_EQ(rows[1].test.only_exit, 0);
  EXPECT_EQ(rows[1].queries.only_exit, 0);
  EXPECT_EQ(rows[1].on_queries.exit.size(), 30u);
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
  EXPECT_FALSE(rows[1].timed());
  EXPECT_FALSE(rows[1].queried());
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
