#include "stats/exits/machine_speed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "stats/exits/exit_estimation.h"
#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

// Four exits on a machine whose speed is another for some time: spells of `spell` measurements, in half of
// them everything takes `slow` times as long. Noise of `sigma_ns` comes on top.
struct Measured {
  std::vector<double> ns;           // [n, repetitions]
  std::vector<std::int32_t> order;  // as ns
  std::vector<std::size_t> exits;   // [n]
  std::size_t repetitions;
};
constexpr double kFirst = 900000, kGap = 430000;

Measured draw(
    std::size_t n, std::size_t repetitions, double slow, std::size_t spell, double sigma_ns, unsigned seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal(0, sigma_ns);
  Measured run{std::vector<double>(n * repetitions),
               std::vector<std::int32_t>(n * repetitions),
               std::vector<std::size_t>(n),
               repetitions};
  for (auto& e : run.exits) e = 1 + rng() % 4;
  std::vector<std::size_t> samples(n);
  std::iota(samples.begin(), samples.end(), 0);
  double factor = 1;
  for (std::size_t pass = 0, at = 0; pass < repetitions; ++pass) {
    std::shuffle(samples.begin(), samples.end(), rng);
    for (std::size_t i = 0; i < n; ++i, ++at) {
      if (at % spell == 0) factor = rng() % 2 ? slow : 1;
      const std::size_t to = samples[i] * repetitions + pass;
      run.order[to] = static_cast<std::int32_t>(i);
      run.ns[to] = factor * (kFirst + kGap * static_cast<double>(run.exits[samples[i]] - 1) + normal(rng));
    }
  }
  return run;
}

// 1000 queries, ten times each, as a virtual machine with a busy neighbour gave them: 1.4 times as long for a
// tenth of a second now and then.
TEST(MachineSpeed, SlowSpellsAreDividedOut) {
  for (const std::size_t spell : {40u, 150u, 1500u}) {
    const Measured run = draw(1000, 10, 1.4, spell, 10000, 3);
    const ExitEstimate raw = estimate_exits(run.ns, run.repetitions);
    const ExitEstimate evened = estimate_exits(run.ns, run.repetitions, {.order = run.order});
    EXPECT_TRUE(evened.evened) << spell;
    // In long spells most samples have a time from a fast one: the minimum does almost as well.
    EXPECT_LT(evened.sigma_ns, (spell < 1000 ? 0.5 : 1) * raw.sigma_ns) << spell;
    ASSERT_EQ(evened.num_exits, 4u) << spell;
    EXPECT_EQ(evened.exits, run.exits) << spell;
    EXPECT_GT(evened.separation_sigmas, 12) << spell;
    EXPECT_NEAR(evened.longest / evened.shortest, 1.4, 0.05) << spell;
    EXPECT_NE(evened.advice.find("speed was divided out"), std::string::npos) << evened.advice;
  }
}

TEST(MachineSpeed, ASteadyMachineLosesNothing) {
  for (unsigned seed = 1; seed <= 3; ++seed) {
    const Measured run = draw(1000, 10, 1, 100, 60000, seed);
    const ExitEstimate raw = estimate_exits(run.ns, run.repetitions);
    const ExitEstimate other = estimate_exits(run.ns, run.repetitions, {.order = run.order});
    EXPECT_EQ(other.num_exits, raw.num_exits);
    EXPECT_LE(other.sigma_ns, raw.sigma_ns);
    // Its median of ten has sigma * sqrt(pi / 2 / 10) at best; less would be noise that hides.
    EXPECT_GT(other.sigma_ns, 0.9 * 60000 / std::sqrt(10.0));
    std::size_t right = 0;
    for (std::size_t i = 0; i < run.exits.size(); ++i) right += other.exits[i] == run.exits[i] ? 1 : 0;
    EXPECT_GE(right, 998u);
  }
}

// A network holds each answer back for up to a millisecond: the minimum repeats best, and dividing by a speed that does
// not change must not look more than a quarter better than it is (what is left of it: samples share windows).
TEST(MachineSpeed, JitterIsNoSpeed) {
  std::mt19937_64 rng(17);
  std::uniform_real_distribution<double> jitter(0, 1e6);
  std::normal_distribution<double> own(0, 20000);
  for (const std::size_t repetitions : {20u, 60u}) {
    Measured run = draw(150, repetitions, 1, 100, 0, 6);
    for (double& ns : run.ns) ns += jitter(rng) + own(rng);
    const ExitEstimate e = estimate_exits(run.ns, run.repetitions, {.order = run.order});
    EXPECT_EQ(e.statistic, TimeStatistic::kMinimum) << name_of(e.statistic);
    EXPECT_FALSE(e.evened);
    const EvenedTimes evened = even_out_speed(run.ns, run.repetitions, run.order);
    for (const auto s : {TimeStatistic::kMinimum, TimeStatistic::kQuantile20, TimeStatistic::kMedian}) {
      double squares = 0;
      for (std::size_t exit = 1; exit <= 4; ++exit) {
        std::vector<double> of_exit;
        const std::vector<double> all = time_statistic(evened.times_ns, run.repetitions, s);
        for (std::size_t i = 0; i < all.size(); ++i)
          if (run.exits[i] == exit) of_exit.push_back(all[i]);
        const double mean =
            std::accumulate(of_exit.begin(), of_exit.end(), 0.0) / static_cast<double>(of_exit.size());
        for (const double t : of_exit) squares += (t - mean) * (t - mean);
      }
      const double spread = std::sqrt(squares / static_cast<double>(run.exits.size() - 4));
      EXPECT_GT(measured_noise(evened.times_ns, run.repetitions, s), 0.75 * spread) << name_of(s);
    }
  }
}

// Without noise, in spells as long as the windows: what is left is the level of each sample, up to one factor
// and what medians of eight leave of factors of 1 and 1.3.
TEST(MachineSpeed, LevelsComeBack) {
  const Measured run = draw(400, 8, 1.3, kSpeedWindow, 0, 5);
  const EvenedTimes evened = even_out_speed(run.ns, run.repetitions, run.order);
  const double first = evened.times_ns[0] / (kFirst + kGap * static_cast<double>(run.exits[0] - 1));
  for (std::size_t at = 0; at < run.ns.size(); ++at) {
    const double level = kFirst + kGap * static_cast<double>(run.exits[at / run.repetitions] - 1);
    EXPECT_NEAR(evened.times_ns[at] / level, first, 0.03 * first) << at;
  }
}

TEST(MachineSpeed, AFixedStatisticStays) {
  const Measured run = draw(500, 10, 1.4, 100, 10000, 9);
  for (const auto s : {TimeStatistic::kMinimum, TimeStatistic::kMedian, TimeStatistic::kMean})
    EXPECT_EQ(estimate_exits(run.ns, run.repetitions, {.statistic = s, .order = run.order}).statistic, s);
}

TEST(MachineSpeed, FewRepetitionsAndCoarseTimersAreTakenAsTheyAre) {
  const Measured few = draw(300, 3, 1.4, 50, 1000, 2);
  EXPECT_FALSE(estimate_exits(few.ns, 3, {.order = few.order}).evened);
  const std::vector<double> zeros(40, 0);
  std::vector<std::int32_t> order(40);
  for (std::size_t at = 0; at < 40; ++at) order[at] = static_cast<std::int32_t>(at / 4);
  EXPECT_EQ(even_out_speed(zeros, 4, order).times_ns, zeros);
}

TEST(MachineSpeed, BadInputIsNamed) {
  const std::vector<double> times(8, 1);
  const std::vector<std::int32_t> order = {0, 0, 0, 0, 1, 1, 1, 1};
  EXPECT_MESSAGE(
      even_out_speed(times, 2, order),
      "even_out_speed: needs at least 4 repetitions of every sample, got 8 times of 2 repetitions");
  EXPECT_MESSAGE(even_out_speed(times, 4, std::span(order).first(7)),
                 "even_out_speed: 8 times have an order of 7");
  for (const std::int32_t bad : {0, 2, -1}) {
    auto wrong = order;
    wrong[6] = bad;
    EXPECT_MESSAGE(estimate_exits(times, 4, {.order = wrong}),
                   "even_out_speed: the order of pass 3 is no permutation of 0..1, see sample 1");
  }
}

}  // namespace
}  // namespace offramp::stats
