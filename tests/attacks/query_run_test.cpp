#include "attacks/query/query_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "stats/exits/exit_estimation.h"
#include "tests/attacks/fake_victim.h"
#include "tests/attacks/message.h"
#include "tests/support/noise_models.h"
#include "tests/support/temp_folder.h"

namespace offramp::attacks {
namespace {

using test::FakeVictim;
using test::FakeVictimOptions;

TEST(QueryRun, TheTraceHoldsWhatTheVictimSaid) {
  test::TempFolder folder;
  const auto images = test::numbered_images(37);
  FakeVictim victim({});
  const Trace trace = query_victim(
      victim, images, folder.path(), {.repetitions = 3, .block = 8, .victim = "fake", .images = "numbered"});
  EXPECT_EQ(victim.queries(), 3 * 37);
  EXPECT_EQ(trace.samples, 37);
  EXPECT_EQ(trace.classes, 5);
  EXPECT_EQ(trace.info.victim, "fake");
  EXPECT_EQ(trace.info.repetitions_because, "3 repetitions: as asked");
  std::vector<std::int32_t> all(37);
  for (int i = 0; i < 37; ++i) all[static_cast<std::size_t>(i)] = i;
  const Answer direct = victim.query(images.load(all), Timing::kPerQuery);
  EXPECT_EQ(trace.outputs, direct.probabilities.to_host<float>());
  for (std::size_t i = 0; i < 37; ++i)
    for (std::size_t r = 0; r < 3; ++r) EXPECT_EQ(trace.times_ns[3 * i + r], direct.nanoseconds[i]) << i;
  EXPECT_EQ(read_trace(folder.path()), trace);
  for (const char* left : {"times.part", "outputs.part", "query.json"})
    EXPECT_FALSE(std::filesystem::exists(folder / left)) << left;
}

TEST(QueryRun, EachPassHasAnOrderOfItsOwn) {
  const auto first = query_order(100, 1, 0), second = query_order(100, 1, 1), other = query_order(100, 2, 0);
  EXPECT_NE(first, second);
  EXPECT_NE(first, other);
  EXPECT_EQ(first, query_order(100, 1, 0));
  for (auto order : {first, second, other}) {
    std::sort(order.begin(), order.end());
    for (std::size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], static_cast<std::int32_t>(i));
  }
}

// Death at any query, then another, then the rest: the files of a run that was never interrupted.
TEST(QueryRun, AKilledRunGoesOnToTheSameBits) {
  const auto images = test::numbered_images(23);
  const QueryOptions options{.repetitions = 4, .block = 5, .seed = 11, .victim = "v", .images = "i"};
  test::TempFolder whole;
  FakeVictim steady({});
  const Trace expected = query_victim(steady, images, whole.path(), options);
  for (const int dies_after : {0, 3, 5, 22, 23, 24, 60, 91}) {
    test::TempFolder folder;
    FakeVictim first({.dies_after = dies_after}), second({.dies_after = 7}), last({});
    EXPECT_THROW(query_victim(first, images, folder.path(), options), std::runtime_error);
    EXPECT_FALSE(has_trace(folder.path()));
    try {
      query_victim(second, images, folder.path(), options);
    } catch (const std::runtime_error&) {  // little was left to ask when it lived
    }
    EXPECT_EQ(query_victim(last, images, folder.path(), options), expected) << dies_after;
    for (const char* file : {"times.csv", "outputs.npy", "trace.json"})
      EXPECT_EQ(test::read_text(folder / file), test::read_text(whole / file)) << file << dies_after;
    // At most a block is asked twice after each death.
    EXPECT_LE(first.queries() + second.queries() + last.queries(), 4 * 23 + 2 * 5);
  }
}

TEST(QueryRun, ATornWriteIsDroppedAndAskedAgain) {
  const auto images = test::numbered_images(23);
  const QueryOptions options{.repetitions = 2, .block = 5};
  test::TempFolder whole, folder;
  FakeVictim steady({}), dying({.dies_after = 12}), last({});
  const Trace expected = query_victim(steady, images, whole.path(), options);
  EXPECT_THROW(query_victim(dying, images, folder.path(), options), std::runtime_error);
  const std::string times = test::read_text(folder / "times.part"),
                    outputs = test::read_text(folder / "outputs.part");
  ASSERT_EQ(times.size(), 10 * sizeof(std::int64_t));
  test::write_text(folder / "times.part", times.substr(0, times.size() - 3));
  test::write_text(folder / "outputs.part", outputs + "torn");
  EXPECT_EQ(query_victim(last, images, folder.path(), options), expected);
}

// In a later pass too: an answer that is missing is asked for, and never read as zeros.
TEST(QueryRun, AnswersThatAreLostAreAskedForAgain) {
  const auto images = test::numbered_images(23);
  const QueryOptions options{.repetitions = 4, .block = 5};
  test::TempFolder whole, folder;
  FakeVictim steady({}), dying({.dies_after = 60}), last({});
  const Trace expected = query_victim(steady, images, whole.path(), options);
  EXPECT_THROW(query_victim(dying, images, folder.path(), options), std::runtime_error);
  const std::string outputs = test::read_text(folder / "outputs.part");
  ASSERT_EQ(outputs.size() % 23, 0u);
  test::write_text(folder / "outputs.part", outputs.substr(0, outputs.size() / 23 * 7 + 3));
  EXPECT_EQ(query_victim(last, images, folder.path(), options), expected);
  EXPECT_EQ(last.queries(), 4 * 23 - 7);
}

TEST(QueryRun, AFinishedTraceIsReadAndNotAskedAgain) {
  test::TempFolder folder;
  const auto images = test::numbered_images(9);
  FakeVictim victim({}), untouched({});
  const Trace trace = query_victim(victim, images, folder.path(), {.repetitions = 2});
  EXPECT_EQ(query_victim(untouched, images, folder.path(), {.repetitions = 2}), trace);
  EXPECT_EQ(query_victim(untouched, images, folder.path(), {}), trace);
  EXPECT_EQ(untouched.queries(), 0);
}

TEST(QueryRun, AFolderOfAnotherRunIsRefused) {
  test::TempFolder folder;
  FakeVictim victim({}), dying({.dies_after = 20});
  const auto message = [&](const ImageSource& images, QueryOptions options) {
    return test::message_of([&] { query_victim(victim, images, folder.path(), options); });
  };
  EXPECT_THROW(query_victim(dying, test::numbered_images(9), folder.path(), {.repetitions = 4, .block = 2}),
               std::runtime_error);
  const std::string begun = (folder / "query.json").string() + ": was begun with ";
  const std::string advice = ": go on with the same, or use another folder";
  EXPECT_EQ(message(test::numbered_images(10), {.repetitions = 4}), begun + "samples 9, now 10" + advice);
  EXPECT_EQ(message(test::numbered_images(9), {.repetitions = 5}), begun + "repetitions 4, now 5" + advice);
  EXPECT_EQ(message(test::numbered_images(9), {.seed = 3}), begun + "seed 1, now 3" + advice);
  EXPECT_EQ(message(test::numbered_images(9), {.repetitions = 4}), "");
  EXPECT_EQ(message(test::numbered_images(9), {.seed = 3}),
            (folder / "trace.json").string() + ": was begun with seed 1, now 3" + advice);
}

// Answers are those to the images themselves, of the first pass; the later ones ask others.
TEST(QueryRun, NearDuplicatesAreAskedFromTheSecondPassOn) {
  class Watched final : public BlackBox {
   public:
    int classes() const override { return inner_.classes(); }
    Answer query(const Tensor& images, Timing timing) override {
      const auto pixels = images.to_host<float>();
      for (std::size_t i = 0; i < pixels.size(); i += 4)
        moved.push_back(std::any_of(&pixels[i], &pixels[i] + 4, [](float p) {
          return std::abs(255 * p - std::round(255 * p)) > 1e-3F;
        }));
      return inner_.query(images, timing);
    }
    std::vector<bool> moved;

   private:
    FakeVictim inner_{FakeVictimOptions{}};
  };
  const auto images = test::numbered_images(40);
  test::TempFolder folder, plain;
  Watched watched;
  FakeVictim victim({});
  const Trace trace =
      query_victim(watched, images, folder.path(), {.repetitions = 3, .near_duplicates = .0015});
  ASSERT_EQ(watched.moved.size(), 120u);
  EXPECT_EQ(std::count(watched.moved.begin(), watched.moved.begin() + 40, true), 0);
  EXPECT_GE(std::count(watched.moved.begin() + 40, watched.moved.end(), true), 78);  // image 0 may stay at 0
  EXPECT_EQ(trace.outputs, query_victim(victim, images, plain.path(), {.repetitions = 3}).outputs);
}

TEST(QueryRun, WrongUseIsNamed) {
  test::TempFolder folder;
  FakeVictim victim({});
  EXPECT_EQ(test::message_of([&] { query_victim(victim, test::numbered_images(0), folder.path(), {}); }),
            "query: there are no images");
  EXPECT_EQ(
      test::message_of([&] { query_victim(victim, test::numbered_images(1), folder.path(), {.block = 0}); }),
      "query: block >= 1, repetitions >= 0 and 1 <= min_repetitions <= max_repetitions are wanted");
  EXPECT_EQ(test::message_of([] { choose_repetitions(std::vector<double>(9, 1.0), 3, {}); }),
            "choose_repetitions: needs an even number of repetitions, at least 2, got 3");
}

// sigma_1 = gap / 1.5: 36 / 2.25 = 16 repetitions put averages six sigma apart. The pilot knows sigma and gap
// to a few per cent. The estimate uses a quantile, which repeats worse than an average, so more are asked
// for.
TEST(QueryRun, RepetitionsFollowFromTheMeasuredNoise) {
  test::TempFolder folder;
  const auto images = test::numbered_images(400);
  FakeVictim victim({.gap_ns = 30000, .sigma_ns = 20000, .noise_follows_the_call = true});
  QueryOptions options{.pilot_repetitions = 40};
  std::vector<RepetitionChoice> seen;
  int pilot_passes = 0;
  const Trace trace = query_victim(victim, images, folder.path(), options, [&](const QueryProgress& p) {
    EXPECT_LE(p.done, p.total);
    if (!p.choice) {
      EXPECT_TRUE(seen.empty());
      EXPECT_EQ(p.total, 300 * 40);
      EXPECT_EQ(p.done, 300 * ++pilot_passes);
    } else if (seen.empty() || seen.back().repetitions != p.choice->repetitions) {
      seen.push_back(*p.choice);
    }
  });
  EXPECT_EQ(pilot_passes, 40);
  // sigma_1 over 300 * 20 pairs: relative error 1/sqrt(2 * 6000), three of them; trimming takes < 1 %.
  EXPECT_NEAR(seen[0].sigma1_ns, 20000, 20000 * (3 / std::sqrt(12000.0) + 0.01));
  EXPECT_GT(seen[0].gap_ns, 0);
  const double needed = std::ceil(36 * std::pow(seen[0].sigma1_ns / seen[0].gap_ns, 2));
  EXPECT_EQ(seen[0].repetitions, static_cast<int>(std::max(needed, 10.0)));
  EXPECT_NE(seen[0].because.find("six sigma need"), std::string::npos) << seen[0].because;
  ASSERT_GT(seen.size(), 1u);
  EXPECT_GT(seen[1].repetitions, seen[0].repetitions);
  EXPECT_EQ(trace.repetitions, seen.back().repetitions);
  EXPECT_EQ(trace.info.sigma1_ns, seen[0].sigma1_ns);
  EXPECT_EQ(trace.info.repetitions_because, seen.back().because);
  const auto estimate =
      stats::estimate_exits(trace.times_as_double(), static_cast<std::size_t>(trace.repetitions));
  EXPECT_EQ(estimate.num_exits, 4u);
  EXPECT_LE(6 * estimate.sigma_ns, 30000 * 1.1);  // the gap that was used is an estimate too
}

// A trace of ours: the pilot (40 * 300 queries) saw a quiet machine, then something else began to run, and a
// 20 % quantile of ten times told three exits of four.
TEST(QueryRun, AMachineThatBecomesBusyAfterThePilotCostsRepetitionsNotExits) {
  const auto images = test::numbered_images(1000);
  const FakeVictimOptions busy{.first_ns = 57000,
                               .gap_ns = 28000,
                               .sigma_ns = 1000,
                               .busy_from = 300 * 20,
                               .noise_follows_the_call = true};
  test::TempFolder folder;
  FakeVictim victim(busy);
  const Trace trace = query_victim(victim, images, folder.path(), {});
  EXPECT_GT(trace.repetitions, 10);
  EXPECT_NE(trace.info.repetitions_because.find("after 10 the noise of a query"), std::string::npos)
      << trace.info.repetitions_because;
  const auto estimate =
      stats::estimate_exits(trace.times_as_double(), static_cast<std::size_t>(trace.repetitions));
  ASSERT_EQ(estimate.num_exits, 4u);
  for (std::int32_t i = 0; i < 1000; ++i)
    EXPECT_EQ(static_cast<int>(estimate.exits[static_cast<std::size_t>(i)]), victim.exit_of(i)) << i;
}

// A neighbour on the same processor who works now and then: the order in which the times were measured tells
// the spells from the exits.
TEST(QueryRun, SlowSpellsOfTheMachineCostNoRepetitions) {
  const auto images = test::numbered_images(1000);
  test::TempFolder folder;
  FakeVictim victim({.sigma_ns = 1500, .spell = 70, .noise_follows_the_call = true});
  const Trace trace = query_victim(victim, images, folder.path(), {});
  EXPECT_EQ(trace.repetitions, 10) << trace.info.repetitions_because;
  const auto times = trace.times_as_double();
  const auto estimate = stats::estimate_exits(times, 10, {.order = trace.order});
  EXPECT_TRUE(estimate.evened);
  ASSERT_EQ(estimate.num_exits, 4u);
  for (std::int32_t i = 0; i < 1000; ++i)
    EXPECT_EQ(static_cast<int>(estimate.exits[static_cast<std::size_t>(i)]), victim.exit_of(i)) << i;
  EXPECT_GT(more_repetitions(times, 10, {.repetitions = 10, .gap_ns = 30000}, {}).repetitions, 10)
      << "what it would take without the order";
  for (int pass = 0; pass < 10; ++pass) {
    const auto order = query_order(1000, 1, pass);
    for (std::size_t i = 0; i < order.size(); ++i)
      ASSERT_EQ(trace.order[static_cast<std::size_t>(order[i]) * 10 + static_cast<std::size_t>(pass)],
                static_cast<std::int32_t>(i));
  }
}

// Noise that no allowed number of repetitions beats, known only after the pilot: the limit is reached and not
// passed. One repetition says nothing about noise.
TEST(QueryRun, AddedRepetitionsStopAtTheLimit) {
  const auto images = test::numbered_images(200);
  const FakeVictimOptions hopeless{
      .first_ns = 1e6, .sigma_ns = 1000, .busy_from = 200 * 20, .noise_follows_the_call = true};
  test::TempFolder folder;
  FakeVictim victim(hopeless);
  const QueryOptions options{.min_repetitions = 4, .max_repetitions = 17};
  const Trace trace = query_victim(victim, images, folder.path(), options);
  EXPECT_EQ(trace.repetitions, 17);
  EXPECT_NE(trace.info.repetitions_because.find("17 repetitions: after 4 the noise"), std::string::npos)
      << trace.info.repetitions_because;
  const RepetitionChoice chosen{.repetitions = 17, .gap_ns = 1};
  const std::vector<double> times = {1, 900, 5, 700, 3, 800};
  EXPECT_EQ(more_repetitions(times, 17, chosen, options).repetitions, 17);
  EXPECT_EQ(more_repetitions(times, 1, chosen, options).repetitions, 17);
  EXPECT_GT(more_repetitions(times, 2, {.repetitions = 2, .gap_ns = 1}, options).repetitions, 2);
}

// The nearest neighbours decide, whether the pilot saw them or these times.
TEST(QueryRun, TheSmallerOfBothGapsDecides) {
  const test::TimeModel model{.share = {.5, .5}, .first_ns = 1e6, .gap_ns = 40000, .sigma_ns = 10000};
  const auto times = test::draw_times(model, 400, 20, 3).ns;
  const auto with_pilot = [&](double gap_ns) {
    return more_repetitions(times, 20, {.repetitions = 20, .gap_ns = gap_ns}, {}).repetitions;
  };
  EXPECT_EQ(with_pilot(0), 20);
  EXPECT_EQ(with_pilot(1e6), 20);
  EXPECT_GT(with_pilot(5000), 30);
}

// As asked of a network: while the number of exits is no promise there are half as many more, up to the limit; else none.
TEST(QueryRun, RepetitionsAreAddedUntilTheExitsArePromised) {
  const QueryOptions options{.min_repetitions = 4, .max_repetitions = 40, .until_promised = true};
  const RepetitionChoice one_seen{.repetitions = 20};
  const auto times = [&](double gap_ns) {
    const test::TimeModel model{.share = {.5, .3, .2}, .first_ns = 1e6, .gap_ns = gap_ns, .sigma_ns = 10000};
    return test::draw_times(model, 400, 20, 3).ns;
  };
  const RepetitionChoice close = more_repetitions(times(6000), 20, one_seen, options);
  EXPECT_EQ(close.repetitions, 30);
  EXPECT_NE(close.because.find("30 repetitions: after 20 the number of exits, "), std::string::npos)
      << close.because;
  EXPECT_EQ(more_repetitions(times(0), 20, one_seen, options).repetitions, 30)
      << "one exit is never promised";
  EXPECT_EQ(more_repetitions(times(60000), 20, one_seen, options).repetitions, 20);
  EXPECT_EQ(more_repetitions(times(6000), 20, one_seen, {.max_repetitions = 23, .until_promised = true})
                .repetitions,
            23);
}

// A kill between the passes that were planned and those added later.
TEST(QueryRun, AddedRepetitionsSurviveAKill) {
  const auto images = test::numbered_images(300);
  FakeVictimOptions noisy{.sigma_ns = 14000};  // the same at every query: nothing is added
  test::TempFolder whole;
  FakeVictim steady(noisy);
  const QueryOptions options{.block = 50};
  EXPECT_EQ(query_victim(steady, images, whole.path(), options).repetitions, 10);
  noisy.noise_follows_the_call = true;
  for (const int passes : {9, 10, 11}) {
    test::TempFolder folder;
    FakeVictimOptions dying = noisy;
    dying.dies_after = 300 * 20 + passes * 300 + 60;
    FakeVictim first(dying), last(noisy);
    EXPECT_THROW(query_victim(first, images, folder.path(), options), std::runtime_error);
    const Trace trace = query_victim(last, images, folder.path(), options);
    EXPECT_GT(trace.repetitions, 10) << passes;
    EXPECT_EQ(trace.times_ns.size(), 300u * static_cast<std::size_t>(trace.repetitions));
    EXPECT_EQ(read_trace(folder.path()), trace);
  }
}

TEST(QueryRun, AQuietVictimGetsTheDefaultAndItsExitsAreFound) {
  test::TempFolder folder;
  const auto images = test::numbered_images(1500);
  FakeVictim victim({.gap_ns = 30000, .sigma_ns = 3000, .noise_follows_the_call = true});
  const Trace trace = query_victim(victim, images, folder.path(), {});
  EXPECT_EQ(trace.repetitions, 10);
  const auto times = trace.times_as_double();
  const auto estimate = stats::estimate_exits(times, static_cast<std::size_t>(trace.repetitions));
  ASSERT_EQ(estimate.num_exits, 4u);
  int right = 0;
  for (std::int32_t i = 0; i < 1500; ++i)
    right += static_cast<int>(estimate.exits[static_cast<std::size_t>(i)]) == victim.exit_of(i) ? 1 : 0;
  EXPECT_EQ(right, 1500);  // neighbours are ten sigma_1 apart, the valley five from either
}

// What small nets of ours show: within an exit images differ by some per cent however often they are
// measured.
TEST(QueryRun, SpreadWithinAnExitIsNotTakenForExits) {
  constexpr std::size_t kSamples = 800, kRepetitions = 20;
  constexpr double kCentres[] = {55000, 81000, 170000, 251000};
  std::vector<double> times;
  const PhiloxKey draw{4, 4};
  std::uint64_t at = 0;
  for (std::size_t i = 0; i < kSamples; ++i) {
    const double centre = kCentres[i % 4], place = draw.word(at++) % 6 == 0 ? 0.975 * centre : centre;
    for (std::size_t r = 0; r < kRepetitions; ++r)
      times.push_back(place + 400.0 * static_cast<double>(draw.uniform(at++)));
  }
  const RepetitionChoice choice = choose_repetitions(times, kRepetitions, {});
  EXPECT_EQ(choice.repetitions, 10);
  EXPECT_NEAR(choice.gap_ns, 26000, 0.025 * 81000);  // a centre may move by the spread
  const auto estimate = stats::estimate_exits(times, kRepetitions);
  EXPECT_EQ(estimate.num_exits, 4u);
  EXPECT_GT(stats::estimate_exits(times, kRepetitions, {.least_bandwidth_share = 0}).num_exits, 4u)
      << "what the floor is for";
}

TEST(QueryRun, AVictimWithOneExitGetsTheDefault) {
  const RepetitionChoice choice = choose_repetitions(std::vector<double>(400, 5000.0), 20, {});
  EXPECT_EQ(choice.repetitions, 10);
  EXPECT_EQ(choice.gap_ns, 0);
  EXPECT_EQ(choice.because, "10 repetitions: one measurement has noise 0 ns, the pilot saw a single exit");
}

}  // namespace
}  // namespace offramp::attacks
