#include "stats/timing/timing_verdict.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "stats/timing/decile_differences.h"
#include "stats/timing/decile_region.h"
#include "tests/stats/expect_message.h"
#include "tests/support/timing_series.h"

namespace offramp::stats {
namespace {

using test::ClassOrder;
using test::correlated_times;

const std::filesystem::path kBusy =
    std::filesystem::path(OFFRAMP_SOURCE_DIR) / "tests/stats/traces/small-cnn-fashion-mnist-cpu-busy.csv";

TEST(TimingVerdict, TheFourVerdicts) {
  const TimingVerdict leaks = timing_verdict(correlated_times(2000, 300, 0, 400, ClassOrder::kRandom, 1));
  EXPECT_EQ(leaks.outcome, TimingOutcome::kLeaks) << leaks.reason;
  EXPECT_LE(leaks.effect.low, 400);
  EXPECT_GE(leaks.effect.high, 400);
  EXPECT_GT(leaks.effect.low, 100);
  EXPECT_LE(leaks.p_value, .01);

  const TimingVerdict smaller = timing_verdict(correlated_times(4000, 300, 0, 10, ClassOrder::kRandom, 2));
  EXPECT_EQ(smaller.outcome, TimingOutcome::kSmaller) << smaller.reason;

  const TimingVerdict open = timing_verdict(correlated_times(300, 300, 0, 150, ClassOrder::kRandom, 3));
  EXPECT_EQ(open.outcome, TimingOutcome::kInconclusive) << open.reason;
  EXPECT_GT(open.more_needed, 300);

  // One class after the other: a drift would look like a leak.
  ClassifiedTimes halves = correlated_times(2000, 300, 0, 400, ClassOrder::kRandom, 4);
  for (std::size_t i = 0; i < halves.is_b.size(); ++i) halves.is_b[i] = i < 2000 ? 0 : 1;
  const TimingVerdict apart = timing_verdict(halves);
  EXPECT_EQ(apart.outcome, TimingOutcome::kNotMeasured);
  EXPECT_NE(apart.reason.find("random order"), std::string::npos) << apart.reason;
}

// 100 inputs of each class, each measured ten times, on a machine that became slower half-way.
TEST(TimingVerdict, InputsOfOneClassMeasuredBeforeTheOtherAreNoMeasurement) {
  const auto measured = [](auto class_of, auto input_of) {
    std::mt19937_64 rng(11);
    std::normal_distribution<double> noise(0, 50);
    ClassifiedTimes t;
    for (int i = 0; i < 2000; ++i) {
      t.input.push_back(input_of(i));
      t.is_b.push_back(class_of(input_of(i)) ? 1 : 0);
      t.ns.push_back(1e6 + (i < 1000 ? 0 : 400) + noise(rng));
    }
    return t;
  };
  const auto one_by_one = [](int i) { return i / 10; };
  const auto in_passes = [](int i) { return (i % 200) * 77 % 200; };
  const auto second_half = [](int input) { return input >= 100; };
  const auto shuffled = [](int input) { return input * 2654435761u >> 16 & 1; };

  const TimingVerdict drift = timing_verdict(measured(second_half, one_by_one));
  EXPECT_EQ(drift.outcome, TimingOutcome::kNotMeasured) << drift.reason;
  EXPECT_NE(drift.reason.find("one class were measured before"), std::string::npos) << drift.reason;
  // Each pass begins with one class: its inputs come first on the average too.
  const TimingVerdict first = timing_verdict(measured(second_half, [](int i) { return i % 200; }));
  EXPECT_EQ(first.outcome, TimingOutcome::kNotMeasured) << first.reason;
  // Mixed, the drift is everybody's.
  for (const TimingVerdict& mixed :
       {timing_verdict(measured(shuffled, one_by_one)), timing_verdict(measured(shuffled, in_passes))}) {
    EXPECT_NE(mixed.outcome, TimingOutcome::kNotMeasured) << mixed.reason;
    EXPECT_NE(mixed.outcome, TimingOutcome::kLeaks) << mixed.reason;
  }
}

TEST(TimingVerdict, TheClocksStepIsALimitOfItsOwn) {
  const auto on_clock = [](double effect, double tick) {
    ClassifiedTimes t = correlated_times(3000, 2000, 0, effect, ClassOrder::kRandom, 5);
    for (double& ns : t.ns) ns = tick * std::round(ns / tick);
    return t;
  };
  const TimingVerdict coarse = timing_verdict(on_clock(0, 1000));
  EXPECT_EQ(coarse.outcome, TimingOutcome::kNotMeasured) << coarse.reason;
  EXPECT_EQ(coarse.tick_ns, 1000);
  EXPECT_NE(coarse.reason.find("steps of 1000 ns"), std::string::npos) << coarse.reason;
  // So coarse that one value is left, or two.
  const TimingVerdict one = timing_verdict(on_clock(400, 1e7));
  EXPECT_EQ(one.outcome, TimingOutcome::kNotMeasured) << one.reason;
  ClassifiedTimes two = correlated_times(3000, 2000, 0, 400, ClassOrder::kRandom, 5);
  for (double& ns : two.ns) ns = ns > two.ns[0] ? 1e6 : 0;
  const TimingVerdict halves = timing_verdict(two);
  EXPECT_EQ(halves.outcome, TimingOutcome::kNotMeasured) << halves.reason;
  EXPECT_EQ(halves.tick_ns, 1e6);
  // Far beyond the step there is nothing to doubt, and the effect is not rounded to it.
  const TimingVerdict clear = timing_verdict(on_clock(5400, 1000));
  EXPECT_EQ(clear.outcome, TimingOutcome::kLeaks) << clear.reason;
  EXPECT_NEAR(clear.effect.estimate, 5400, 300);
}

TEST(TimingVerdict, AClassThatDiffersFromItselfSpoilsTheMeasurement) {
  // Every second measurement of class a is slow, whatever the class: the instrument has a period.
  ClassifiedTimes t = correlated_times(2000, 50, 0, 0, ClassOrder::kRandom, 6);
  std::size_t of_a = 0;
  for (std::size_t i = 0; i < t.ns.size(); ++i)
    if (t.is_b[i] == 0 && of_a++ % 2 == 1) t.ns[i] += 5000;
  const TimingVerdict v = timing_verdict(t);
  EXPECT_EQ(v.outcome, TimingOutcome::kNotMeasured) << v.reason;
  EXPECT_LE(v.control_p_value, .001);
}

TEST(TimingVerdict, TooFewAndWrongArguments) {
  EXPECT_EQ(timing_verdict(correlated_times(20, 1, 0, 0, ClassOrder::kRandom, 1)).outcome,
            TimingOutcome::kNotMeasured);
  ClassifiedTimes t = correlated_times(100, 1, 0, 0, ClassOrder::kRandom, 1);
  t.is_b.pop_back();
  EXPECT_THROW(timing_verdict(t), DataError);
  t = correlated_times(100, 1, 0, 0, ClassOrder::kRandom, 1);
  EXPECT_THROW(timing_verdict(t, {.alpha = 0}), ValueError);
  EXPECT_THROW(timing_verdict(t, {.alpha = .001, .resamples = 100}), ValueError);
  EXPECT_THROW(timing_verdict(t, {.limit_ns = -1}), ValueError);
  t.ns[3] = NAN;
  EXPECT_THROW(timing_verdict(t), DataError);
}

TEST(TimingVerdict, SameBitsForAnyNumberOfThreads) {
  const ClassifiedTimes t = correlated_times(500, 300, .5, 100, ClassOrder::kRuns, 7);
  const TimingVerdict one = timing_verdict(t, {.threads = 1}), two = timing_verdict(t, {.threads = 3});
  EXPECT_EQ(one.low, two.low);
  EXPECT_EQ(one.p_value, two.p_value);
}

TEST(TimingVerdict, CorrelationTimeOfAnAutoregressiveSeries) {
  // AR(1): (1 + rho) / (1 - rho).
  for (const double rho : {0.0, .5, .8}) {
    const ClassifiedTimes t = correlated_times(40000, 1, rho, 0, ClassOrder::kRandom, 8);
    EXPECT_NEAR(integrated_correlation_time(t.ns), (1 + rho) / (1 - rho), .12 * (1 + rho) / (1 - rho)) << rho;
  }
}

// Blocks hardly longer than the correlation miss what it adds at their ends; the deviation that is told makes up for it. Against
// the scatter of the median's difference over many series.
TEST(TimingVerdict, ShortBlocksDoNotMakeTheDeviationSmaller) {
  const auto differences = [](std::uint64_t seed, std::size_t resamples) {
    const ClassifiedTimes t = correlated_times(500, 300, .5, 0, ClassOrder::kRuns, seed);
    return decile_differences(t, {.resamples = resamples, .block = 3, .seed = seed, .threads = 1});
  };
  double squares = 0, told = 0;
  for (std::uint64_t seed = 1; seed <= 1000; ++seed)
    squares += std::pow(differences(seed, 1).difference[4], 2) / 1000;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) told += differences(seed, 199).deviation[4] / 30;
  EXPECT_GT(told / std::sqrt(squares), .85);  // .79 without
  EXPECT_LT(told / std::sqrt(squares), 1.1);
}

// The smaller form of `timing_bench null` (docs/results/verdicts.md): of 300 runs without a difference at alpha 5 % at
// most 28 alarms (binomial, 1 in 1,000 to see more). Limit 0: any difference counts.
constexpr int kNullRuns = 300, kMostAlarms = 28;

int alarms(const std::function<ClassifiedTimes(std::uint64_t)>& draw, std::optional<std::size_t> block = {}) {
  int n = 0;
  for (std::uint64_t seed = 1; seed <= kNullRuns; ++seed) {
    TimingTestOptions o{.limit_ns = 0, .alpha = .05, .resamples = 399, .block = block, .seed = seed};
    const ClassifiedTimes t = draw(seed);
    n += read_region(decile_region(t, o), 0).p_value <= .05 ? 1 : 0;
  }
  return n;
}

TEST(TimingVerdict, NullRunsOnRecordedNoiseStayInTheBand) {
  for (const int exit : {1, 4}) {
    const auto noise = test::recorded_noise(kBusy, exit);
    ASSERT_GT(noise.size(), 1000u);
    EXPECT_LE(alarms([&](std::uint64_t s) { return test::relabelled(noise, 300, 0, s); }), kMostAlarms)
        << exit;
  }
}

TEST(TimingVerdict, RandomOrderKeepsAlphaOnTimesThatDependOnEachOther) {
  // As many alarms as alpha allows, not fewer: a test that is too careful needs more measurements than it must.
  const auto draw = [](std::uint64_t s) { return correlated_times(250, 300, .9, 0, ClassOrder::kRandom, s); };
  const int n = alarms(draw);
  EXPECT_LE(n, kMostAlarms);
  EXPECT_GE(n, 5);  // binomial, 1 in 1,000 to see fewer
}

TEST(TimingVerdict, ClassesThatScatterDifferentlyAreNotADifferenceOfTheMiddle) {
  // Class a within 30 ns, class b within 300, medians equal: 95 % of the intervals hold zero at the median alone, and the
  // nine together more often.
  int missed = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    ClassifiedTimes t = correlated_times(250, 300, 0, 0, ClassOrder::kRandom, seed);
    for (std::size_t i = 0; i < t.ns.size(); ++i)
      if (t.is_b[i] == 0) t.ns[i] = 50000 + .1 * (t.ns[i] - 50000);
    const TimingVerdict v = timing_verdict(t, {.limit_ns = 0, .alpha = .05, .resamples = 199, .seed = seed});
    EXPECT_TRUE(v.classes_drawn);
    missed += v.low[4] > 0 || v.high[4] < 0 ? 1 : 0;
  }
  EXPECT_LE(missed, 10);
}

TEST(TimingVerdict, ARegionFollowsAShiftAndAScale) {
  const ClassifiedTimes t = correlated_times(300, 300, 0, 150, ClassOrder::kRandom, 11);
  const TimingTestOptions o{.resamples = 199};
  const DecileRegion plain = decile_region(t, o);
  ClassifiedTimes other = t;
  for (double& ns : other.ns) ns = 8 * ns + 4096;
  const DecileRegion scaled = decile_region(other, o);
  ASSERT_TRUE(plain.classes_drawn);
  EXPECT_EQ(plain.atoms, 600u);
  for (std::size_t j = 0; j < kDeciles; ++j) {
    EXPECT_NEAR(scaled.difference[j], 8 * plain.difference[j], 1e-6);
    EXPECT_NEAR(scaled.deviation[j], 8 * plain.deviation[j], 1e-6);
  }
  EXPECT_NEAR(scaled.largest.back(), plain.largest.back(), 1e-6);
  // Of a normal class of 300, sigma 300: the median's deviation is 300 sqrt(pi / 2 / 300), of a difference sqrt(2) more.
  EXPECT_NEAR(plain.deviation[4], 300 * std::sqrt(std::acos(-1.) / 300), 8);
  // Classes that take turns are not in random order.
  for (std::size_t i = 0; i < other.is_b.size(); ++i) other.is_b[i] = i % 2;
  EXPECT_FALSE(decile_region(other, o).classes_drawn);
}

// A clock with steps of 500 ns would show the same of classes that differ by 400.
TEST(TimingVerdict, ConstantTimesSayNothingBelowTheirOwnSize) {
  ClassifiedTimes t = correlated_times(200, 300, 0, 0, ClassOrder::kRandom, 12);
  std::fill(t.ns.begin(), t.ns.end(), 500.0);
  const TimingVerdict same = timing_verdict(t, {.limit_ns = 1});
  EXPECT_EQ(same.outcome, TimingOutcome::kNotMeasured) << same.reason;
  EXPECT_EQ(same.tick_ns, 500);
  EXPECT_EQ(same.p_value, 1);
  EXPECT_FALSE(same.compared);  // spread over 500 ns the deciles would differ
  EXPECT_EQ(same.difference, Deciles{});
  EXPECT_EQ(timing_verdict(t, {.limit_ns = 1000}).outcome, TimingOutcome::kSmaller);
  std::fill(t.ns.begin(), t.ns.end(), 0.0);
  EXPECT_EQ(timing_verdict(t, {.limit_ns = 1000}).outcome, TimingOutcome::kNotMeasured);
}

TEST(TimingVerdict, NullRunsOfDependentTimesNeedTheBlocks) {
  const auto runs = [](std::uint64_t s) { return correlated_times(1000, 300, .9, 0, ClassOrder::kRuns, s); };
  EXPECT_LE(alarms(runs), kMostAlarms);
  EXPECT_GT(alarms(runs, 1), 2 * kMostAlarms);  // measurement by measurement it would cry wolf
}

TEST(TimingVerdict, InputsMeasuredSeveralTimesAreDrawnWhole) {
  // 100 inputs a class, each with a level of its own, 10 measurements of each.
  const auto draw = [](std::uint64_t seed) {
    std::mt19937_64 rng(seed);
    std::normal_distribution<double> normal;
    ClassifiedTimes t;
    std::vector<double> level(200);
    for (double& l : level) l = 50000 + 300 * normal(rng);
    for (int pass = 0; pass < 10; ++pass) {
      std::vector<int> order(200);
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), rng);
      for (const int i : order) {
        t.ns.push_back(level[static_cast<std::size_t>(i)] + 30 * normal(rng));
        t.is_b.push_back(i < 100 ? 0 : 1);
        t.input.push_back(i);
      }
    }
    return t;
  };
  const int n = alarms(draw);
  EXPECT_LE(n, kMostAlarms);
  EXPECT_GE(n, 5);
  const auto without = [&](std::uint64_t s) {
    ClassifiedTimes t = draw(s);
    t.input.clear();
    return t;
  };
  EXPECT_GT(alarms(without), 2 * kMostAlarms);
}

TEST(TimingPlan, WhatIsPlannedIsFound) {
  const ClassifiedTimes pilot = correlated_times(500, 300, 0, 0, ClassOrder::kRandom, 9);
  const TimingTestOptions o{.limit_ns = 100, .alpha = .01, .resamples = 999};
  const double n = measurements_needed(pilot, 200, o);
  ASSERT_TRUE(std::isfinite(n));
  EXPECT_GT(n, 100);
  EXPECT_LT(n, 3000);
  int found = 0;
  constexpr int kRuns = 60;
  for (int s = 0; s < kRuns; ++s) {
    const auto t = correlated_times(
        static_cast<std::size_t>(n), 300, 0, 200, ClassOrder::kRandom, 100 + static_cast<std::uint64_t>(s));
    found += timing_verdict(t, o).outcome == TimingOutcome::kLeaks ? 1 : 0;
  }
  EXPECT_GE(found, 46);  // of 60 at 90 %: fewer once in 1,500
  EXPECT_NEAR(power_of(pilot, 200, n, o), .9, .02);
  EXPECT_EQ(measurements_needed(pilot, 50, o), std::numeric_limits<double>::infinity());
  // A clock of 1 us shows no 200 ns, however often it is read; 5 us it does.
  ClassifiedTimes coarse = pilot;
  for (double& ns : coarse.ns) ns = 1000 * std::round(ns / 1000);
  EXPECT_EQ(measurements_needed(coarse, 200, o), std::numeric_limits<double>::infinity());
  EXPECT_EQ(power_of(coarse, 50, 1000, o), 0);
  EXPECT_TRUE(std::isfinite(measurements_needed(coarse, 5000, o)));
  // One class alone will do for a pilot.
  ClassifiedTimes one = pilot;
  std::fill(one.is_b.begin(), one.is_b.end(), std::uint8_t{0});
  EXPECT_NEAR(measurements_needed(one, 200, o) / n, 1, .35);
  one.ns.resize(40), one.is_b.resize(40);
  EXPECT_THROW(measurements_needed(one, 200, o), DataError);
}

// Differences within the limit: few measurements say "smaller" of nothing, many of what is there. The number that an undecided
// verdict names is one with which "smaller" is said as often as asked.
TEST(TimingPlan, SmallerTakesEnoughMeasurementsToo) {
  const ClassifiedTimes pilot = correlated_times(500, 300, 0, 0, ClassOrder::kRandom, 9);
  const TimingTestOptions o{.limit_ns = 100, .alpha = .01, .resamples = 999};
  EXPECT_LT(power_of(pilot, 0, 100, o), .01);
  EXPECT_GT(power_of(pilot, 0, 10000, o), .99);
  EXPECT_LT(power_of(pilot, 90, 1000, o), .01);
  EXPECT_MESSAGE(power_of({}, 0, 100, o), "a pilot needs 50 measurements");
}

// Which class is the faster one does not matter.
TEST(TimingVerdict, AFasterClassIsADifferenceToo) {
  const TimingVerdict leaks = timing_verdict(correlated_times(2000, 300, 0, -400, ClassOrder::kRandom, 1));
  EXPECT_EQ(leaks.outcome, TimingOutcome::kLeaks) << leaks.reason;
  EXPECT_LT(leaks.effect.high, -100);
  for (const double effect : {-80.0, 80.0}) {
    const TimingVerdict open =
        timing_verdict(correlated_times(1000, 300, 0, effect, ClassOrder::kRandom, 2), {.resamples = 499});
    EXPECT_EQ(open.outcome, TimingOutcome::kInconclusive) << effect << ": " << open.reason;
  }
  const ClassifiedTimes pilot = correlated_times(500, 300, 0, 0, ClassOrder::kRandom, 9);
  EXPECT_GT(power_of(pilot, -200, 2000), .9);
}

TEST(TimingVerdict, Attackers) {
  EXPECT_EQ(limit_ns(Attacker::kSameCore), 1);
  EXPECT_EQ(limit_ns(Attacker::kLan), 100);
  EXPECT_EQ(limit_ns(Attacker::kInternet), 50000);
  EXPECT_STREQ(to_text(Attacker::kLan), "lan");
}

}  // namespace
}  // namespace offramp::stats
