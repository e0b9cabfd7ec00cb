// The mixture of exits that share the shape of the noise: the cases that a density or changepoints fail on.
#include "stats/exits/exit_mixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "stats/exits/exit_estimation.h"
#include "tests/stats/exits/normal_times.h"
#include "tests/stats/expect_message.h"
#include "tests/support/exit_traces.h"
#include "tests/support/noise_models.h"

namespace offramp::stats {
namespace {

ExitEstimate by_mixture(std::span<const double> ns, std::size_t repetitions = 1, EstimationOptions o = {}) {
  o.method = EstimationMethod::kMixture;
  o.threads = 1;
  return estimate_exits(ns, repetitions, o);
}

// --- the cases ---

// cases/README.md 4: seconds kept as float32 from a clock of 10 us.
TEST(ExitMixture, AClockOfTenMicrosecondsInFloatSecondsHidesNothing) {
  const double centres[] = {93000, 151000, 236000};
  const std::size_t counts[] = {1500, 1000, 500};
  auto ns = normal_times(centres, counts, 3000, 4, 10000);
  for (double& t : ns) t = 1e9 * static_cast<double>(static_cast<float>(t * 1e-9));
  const ExitEstimate e = by_mixture(ns);
  EXPECT_EQ(e.num_exits, 3u) << e.advice;
  EXPECT_NEAR(e.tick_ns, 10000, 1e-3);
  EXPECT_TRUE(e.reliable);
}

// Case 5: one value of 5 s, or 60 s, in 3,000.
TEST(ExitMixture, AHugeOutlierMovesNoOtherExit) {
  const double centres[] = {91000, 151000, 235000};
  const std::size_t counts[] = {1500, 1000, 500};
  std::vector<double> ns = normal_times(centres, counts, 2500, 6);
  const ExitEstimate alone = by_mixture(ns);
  ASSERT_EQ(alone.num_exits, 3u);
  for (const double hiccup : {5e9, 6e10}) {
    std::vector<double> with = ns;
    with.push_back(hiccup);
    const ExitEstimate e = by_mixture(with);
    EXPECT_EQ(e.num_exits, 3u) << hiccup;
    EXPECT_TRUE(e.reliable) << e.advice;
    for (std::size_t i = 0; i < ns.size(); ++i) ASSERT_EQ(e.exits[i], alone.exits[i]) << hiccup << ' ' << i;
    EXPECT_EQ(e.exits.back(), 3u);
  }
}

// Case 22: the tick is of the raw times, and exits that repeat exactly.
TEST(ExitMixture, CoarseClocksWithRepetitionsAndExactRepeats) {
  std::mt19937_64 rng(22);
  std::normal_distribution<double> normal;
  std::vector<double> ns;
  std::vector<std::size_t> exit;
  const double centres[] = {20200, 30300, 40450};
  for (int i = 0; i < 2000; ++i) {
    exit.push_back(1 + rng() % 3);
    for (int r = 0; r < 10; ++r)
      ns.push_back(1000 * std::round((centres[exit.back() - 1] + 300 * normal(rng)) / 1000));
  }
  const ExitEstimate e = by_mixture(ns, 10);
  EXPECT_EQ(e.num_exits, 3u) << e.advice;
  EXPECT_EQ(test::share_equal(e.exits, exit), 1);
  std::vector<double> exact(1000, 40000.0);
  exact.insert(exact.end(), 500, 47000.0);
  const ExitEstimate two = by_mixture(exact);
  EXPECT_EQ(two.num_exits, 2u) << two.advice;
  EXPECT_EQ(two.counts, (std::vector<std::size_t>{1000, 500}));
  EXPECT_EQ(two.tick_ns, 1000);
}

// Most readings lie on a grid ten times as wide as the clock's: the exit beside it is no recorder's doing.
TEST(ExitMixture, ExitsThatLieOnAWiderGridThanTheClocks) {
  std::vector<double> exact;
  for (const auto& [at, count] : {std::pair(20000., 900), {30000., 900}, {40000., 900}, {43000., 100}})
    exact.insert(exact.end(), static_cast<std::size_t>(count), at);
  const ExitEstimate e = by_mixture(exact);
  EXPECT_EQ(e.num_exits, 4u) << e.advice;
  EXPECT_EQ(e.replaced, 0u);
  EXPECT_EQ(e.tick_ns, 1000);

  std::mt19937_64 rng(23);
  std::normal_distribution<double> normal;
  std::vector<double> ns;
  const double centres[] = {20050, 30100, 40100, 43700};
  for (int i = 0; i < 3000; ++i) {
    const std::size_t exit = i % 100 < 3 ? 3 : static_cast<std::size_t>(i % 3);
    for (int r = 0; r < 10; ++r) ns.push_back(1000 * std::round((centres[exit] + 300 * normal(rng)) / 1000));
  }
  const ExitEstimate four = by_mixture(ns, 10);
  EXPECT_EQ(four.num_exits, 4u) << four.advice;
  EXPECT_EQ(four.replaced, 0u);
}

// Case 24: a rare exit beside a large one, ten repetitions.
TEST(ExitMixture, ARareExitAtTheEdgeIsFound) {
  test::TimeModel model{.share = {.01, .3, .2, .2, .1, .1, .09}, .first_ns = 40000, .sigma_ns = 300};
  model.gap_ns = 12 * 110;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    const test::Times t = test::draw_times(model, 3000, 10, seed);
    const ExitEstimate e = by_mixture(t.ns, 10);
    EXPECT_EQ(e.num_exits, 7u) << seed << ": " << e.advice;
    EXPECT_GE(test::share_equal(e.exits, t.true_exit), 0.999) << seed;
  }
}

// Exits that are each too rare for a peak of the shape are no tail of it either: 40 sigma lie between them.
TEST(ExitMixture, RareExitsFarApartAreFound) {
  for (const std::vector<double>& share :
       {std::vector<double>{.77, .11, .12}, {.08, .84, .08}, {.85, .05, .05, .05}, {.9, .1}}) {
    for (const std::size_t n : {200u, 2000u}) {
      test::TimeModel model{.share = share, .first_ns = 4e6, .sigma_ns = 25000};
      model.gap_ns = 40 * model.sigma_ns;
      const test::Times t = test::draw_times(model, n, 1, n);
      const ExitEstimate e = by_mixture(t.ns);
      EXPECT_EQ(e.num_exits, share.size()) << n << ": " << e.advice;
      EXPECT_EQ(test::share_equal(e.exits, t.true_exit), 1) << n << " of " << share.size();
    }
  }
}

// Case 25: three exits close together, the fourth twenty times as far.
TEST(ExitMixture, UnequalGapsHideNoExit) {
  std::mt19937_64 rng(25);
  std::normal_distribution<double> normal;
  const double steps[] = {0, 20, 40, 440};
  std::vector<double> ns;
  std::vector<std::size_t> exit;
  for (int i = 0; i < 2000; ++i) {
    exit.push_back(1 + rng() % 4);
    for (int r = 0; r < 10; ++r) ns.push_back(40000 + 112 * steps[exit.back() - 1] + 300 * normal(rng));
  }
  const ExitEstimate e = by_mixture(ns, 10);
  EXPECT_EQ(e.num_exits, 4u) << e.advice;
  EXPECT_EQ(test::share_equal(e.exits, exit), 1);
  EXPECT_TRUE(e.reliable) << e.advice;
}

// Case 26: one repetition, one query in a hundred late by 5 to 50 us.
TEST(ExitMixture, LateQueriesAreNoExits) {
  std::size_t right = 0, reliable_wrong = 0, traces = 0;
  for (const std::size_t n : {200u, 500u, 2000u}) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed, ++traces) {
      test::TimeModel model{.share = {.4, .3, .2, .1}, .first_ns = 40000, .sigma_ns = 300};
      model.gap_ns = 12 * 300;
      test::Times t = test::draw_times(model, n, 1, seed);
      std::mt19937_64 rng(seed + 900);
      std::uniform_real_distribution<double> late(5000, 50000);
      for (std::size_t i = 0; i < n / 100; ++i) t.ns[rng() % n] += late(rng);
      const ExitEstimate e = by_mixture(t.ns);
      right += e.num_exits == 4;
      reliable_wrong += e.reliable && e.num_exits != 4;
    }
  }
  EXPECT_GE(right, traces - 1);
  EXPECT_EQ(reliable_wrong, 0u);
}

// 906 queries of 34.2 us and 94 of 93.5 us that scatter six times as much; with them 11 that lost the processor for
// milliseconds.
TEST(ExitMixture, AnExitFarFromTheOthersHasASpreadOfItsOwn) {
  for (const bool preempted : {false, true}) {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
      std::mt19937_64 rng(seed);
      std::normal_distribution<double> normal;
      std::uniform_real_distribution<double> lost(2e6, 12e6);
      std::vector<double> ns;
      for (int i = 0; i < 1000; ++i)
        ns.push_back(std::round(i < 906 ? 34200 + 250 * normal(rng) : 93500 + 1500 * normal(rng)));
      std::shuffle(ns.begin(), ns.end(), rng);
      for (std::size_t i = 0; preempted && i < 11; ++i) ns[i] = std::round(lost(rng));
      const ExitEstimate e = by_mixture(ns);
      EXPECT_EQ(e.num_exits, 2u) << preempted << seed << ": " << e.advice;
      EXPECT_EQ(e.least_exits, 2u) << preempted << seed;
      EXPECT_EQ(e.most_exits, 2u) << preempted << seed;
      EXPECT_GT(e.posterior[1], .9) << preempted << seed;
      EXPECT_LT(e.sigma_ns, 2500) << preempted << seed;
      EXPECT_NEAR(e.spreads_ns[0], 250, 50) << preempted << seed;
    }
  }
}

// Two exits, the second of which has a long tail, and a few queries that lost the processor: the shape of one exit's noise does
// not fit the other's, and what fits it better than two exits may have exits that no time belongs to.
TEST(ExitMixture, EveryExitHasTimes) {
  for (const std::uint64_t seed : {6u, 7u, 8u, 35u}) {
    std::mt19937_64 rng(seed);
    std::normal_distribution<double> normal;
    std::exponential_distribution<double> tail;
    std::uniform_real_distribution<double> uniform;
    std::vector<double> ns;
    for (int i = 0; i < 1000; ++i) {
      double t = i < 894   ? 34200 + 300 * normal(rng) + (uniform(rng) < .2 ? 2200 * tail(rng) : 0)
                 : i < 989 ? 91000 + 800 * normal(rng) + (uniform(rng) < .6 ? 6000 * tail(rng) : 0)
                 : i < 995 ? 4.08e6 + 8000 * normal(rng)
                           : 8e6 + 4e6 * uniform(rng);
      ns.push_back(10 * std::round(t / 10));
    }
    std::shuffle(ns.begin(), ns.end(), rng);
    for (const std::size_t asked : {0u, 3u, 4u, 6u}) {
      const ExitEstimate e = asked > 0 ? by_mixture(ns, 1, {.known_exits = asked}) : by_mixture(ns);
      ASSERT_EQ(e.counts.size(), e.num_exits);
      ASSERT_EQ(e.thresholds_ns.size() + 1, e.num_exits);
      for (const std::size_t count : e.counts)
        EXPECT_GT(count, 0u) << seed << ' ' << asked << ": " << e.advice;
      for (std::size_t k = 1; k < e.thresholds_ns.size(); ++k)
        EXPECT_LT(e.thresholds_ns[k - 1], e.thresholds_ns[k]) << seed << ' ' << asked;
      for (const double centre : e.centres_ns) EXPECT_TRUE(std::isfinite(centre)) << seed << ' ' << asked;
      if (e.method != EstimationMethod::kMixture) continue;
      EXPECT_GE(e.num_exits, e.least_exits) << seed << ' ' << asked;
      EXPECT_LE(e.num_exits, e.most_exits) << seed << ' ' << asked;
    }
  }
}

// --- properties ---

TEST(ExitMixture, TheUnitAndTheOrderDoNotMatter) {
  for (const std::uint64_t seed : {300001u, 300002u, 300005u}) {
    const test::ExitTrace t = test::draw_exit_trace(seed);
    const ExitEstimate want = by_mixture(t.ns);
    for (const double unit : {1e-3, 1e-6, 1e-9}) {
      std::vector<double> ns = t.ns;
      for (double& x : ns) x *= unit;
      const ExitEstimate e = by_mixture(ns);
      EXPECT_EQ(e.num_exits, want.num_exits) << seed << ' ' << unit;
      EXPECT_GE(test::share_equal(e.exits, want.exits), 0.9999) << seed << ' ' << unit;
      EXPECT_EQ(e.reliable, want.reliable);
    }
    std::vector<double> turned(t.ns.rbegin(), t.ns.rend());
    const ExitEstimate e = by_mixture(turned);
    EXPECT_EQ(e.thresholds_ns, want.thresholds_ns);
    EXPECT_EQ(std::vector<std::size_t>(e.exits.rbegin(), e.exits.rend()), want.exits);
  }
}

TEST(ExitMixture, ThreadsDoNotMatter) {
  const test::ExitTrace t = test::draw_exit_trace(300007);
  const ExitEstimate one = estimate_exits(t.ns, 1, {.method = EstimationMethod::kMixture, .threads = 1}),
                     three = estimate_exits(t.ns, 1, {.method = EstimationMethod::kMixture, .threads = 3});
  EXPECT_EQ(one.posterior, three.posterior);
  EXPECT_EQ(one.threshold_low_ns, three.threshold_low_ns);
  EXPECT_EQ(one.probabilities, three.probabilities);
}

TEST(ExitMixture, ProbabilitiesAndIntervalsHangTogether) {
  const double centres[] = {40000, 41200, 44000};  // four sigma, nine sigma
  const std::size_t counts[] = {1000, 700, 300};
  const auto ns = normal_times(centres, counts, 300, 17);
  const ExitEstimate e = by_mixture(ns);
  ASSERT_EQ(e.num_exits, 3u) << e.advice;
  EXPECT_NEAR(std::accumulate(e.posterior.begin(), e.posterior.end(), 0.0), 1, 1e-12);
  EXPECT_LE(e.least_exits, 3u);
  EXPECT_GE(e.most_exits, 3u);
  ASSERT_EQ(e.probabilities.size(), 3 * ns.size());
  double expected_right = 0;
  for (std::size_t i = 0; i < ns.size(); ++i) {
    const double* p = &e.probabilities[3 * i];
    ASSERT_NEAR(p[0] + p[1] + p[2], 1, 1e-12);
    EXPECT_EQ(e.confidence[i], p[e.exits[i] - 1]);
    expected_right += e.confidence[i];
  }
  // The best threshold of these normals is known: 2.3 % of the first two lie on the wrong side of two sigma.
  EXPECT_NEAR(expected_right, static_cast<double>(ns.size()) - 0.0228 * 1700, 15);
  for (std::size_t k = 0; k < 2; ++k) {
    EXPECT_LE(e.threshold_low_ns[k], e.thresholds_ns[k]);
    EXPECT_GE(e.threshold_high_ns[k], e.thresholds_ns[k]);
    EXPECT_LT(e.threshold_high_ns[k] - e.threshold_low_ns[k], 900);
  }
  // Between exits of four sigma the place of the threshold is not known to the nanosecond, to either side.
  EXPECT_LT(e.threshold_low_ns[0], e.thresholds_ns[0] - 1);
  EXPECT_GT(e.threshold_high_ns[0], e.thresholds_ns[0] + 1);
  EXPECT_GT(e.thresholds_ns[0], 40450);
  EXPECT_LT(e.thresholds_ns[0], 40800);
}

// A narrow exit and, far behind, one that scatters six times as much: the threshold between them lies near the narrow one, so
// that the other's early times are its own.
TEST(ExitMixture, AThresholdLiesNearerToTheNarrowerExit) {
  std::mt19937_64 rng(4);
  std::normal_distribution<double> normal;
  std::vector<double> ns;
  for (int i = 0; i < 1000; ++i)
    ns.push_back(i < 700 ? 34200 + 250 * normal(rng) : 93500 + 1500 * normal(rng));
  const ExitEstimate e = by_mixture(ns);
  ASSERT_EQ(e.num_exits, 2u) << e.advice;
  EXPECT_LT(e.thresholds_ns[0], 34200 + 0.4 * (93500 - 34200));
}

TEST(ExitMixture, SmallAndDegenerateSamplesAreAnswered) {
  const ExitEstimate equal = by_mixture(std::vector<double>(40, 5000.0));
  EXPECT_EQ(equal.num_exits, 1u);
  EXPECT_FALSE(equal.reliable);
  EXPECT_EQ(equal.exits, std::vector<std::size_t>(40, 1));
  for (const std::size_t n : {1u, 2u, 3u, 5u, 9u}) {
    std::vector<double> few;
    for (std::size_t i = 0; i < n; ++i) few.push_back(40000 + 137.5 * static_cast<double>(i * i));
    const ExitEstimate e = by_mixture(few);
    EXPECT_GE(e.num_exits, 1u) << n;
    EXPECT_EQ(e.exits.size(), n);
    EXPECT_FALSE(e.reliable) << n;
    EXPECT_NEAR(std::accumulate(e.posterior.begin(), e.posterior.end(), 0.0), 1, 1e-12) << n;
    EXPECT_EQ(e.sigma_source, n == 1 ? SigmaSource::kNone : SigmaSource::kWithinClusters) << n;
  }
  EXPECT_EQ(equal.sigma_source, SigmaSource::kNone);
  EXPECT_EQ(by_mixture(std::vector<double>{1, 5, 9}, 1, {.sigma_ns = 2}).sigma_source, SigmaSource::kGiven);
  EXPECT_EQ(estimate_exits(std::vector<double>{7, 7}, 1).sigma_source, SigmaSource::kNone);
  const double centres[] = {40000};
  const std::size_t counts[] = {2000};
  const ExitEstimate one = by_mixture(normal_times(centres, counts, 300, 1));
  EXPECT_EQ(one.num_exits, 1u) << one.advice;
  EXPECT_FALSE(one.reliable);  // one exit, or several closer than the noise
  EXPECT_GT(one.most_exits, 1u);
}

TEST(ExitMixture, KnownExitsAreKept) {
  const double centres[] = {40000, 43000, 46000, 49000};
  const std::size_t counts[] = {500, 400, 300, 200};
  const auto ns = normal_times(centres, counts, 300, 12);
  EXPECT_EQ(by_mixture(ns, 1, {.known_exits = 2}).num_exits, 2u);
  EXPECT_EQ(by_mixture(ns, 1, {.known_exits = 4}).num_exits, 4u);
  // Four samples carry no mixture: the density parts them, and nothing is promised.
  const std::vector<double> few = {10, 10, 90, 90};
  const ExitEstimate parted = by_mixture(few, 1, {.known_exits = 2});
  EXPECT_EQ(parted.num_exits, 2u);
  EXPECT_EQ(parted.counts, (std::vector<std::size_t>{2, 2}));
  EXPECT_FALSE(parted.reliable);
  EXPECT_TRUE(parted.advice.starts_with("too few samples for the mixture")) << parted.advice;
  EXPECT_EQ(parted.method, EstimationMethod::kDensity);
}

// More exits than there are: as many as the mixture can part, or by another method, which is then named.
TEST(ExitMixture, MoreExitsThanThereAreComeFromTheMethodThatIsNamed) {
  const double centres[] = {40000, 43000, 46000, 49000};
  const std::size_t counts[] = {800, 600, 400, 200};
  const auto ns = normal_times(centres, counts, 300, 12);
  for (const std::size_t asked : {5u, 7u, 8u, 50u}) {
    const ExitEstimate e = by_mixture(ns, 1, {.known_exits = asked});
    EXPECT_FALSE(e.reliable) << asked;
    EXPECT_EQ(e.advice.find("too few samples"), std::string::npos) << e.advice;
    EXPECT_EQ(e.posterior.empty(), e.method == EstimationMethod::kDensity) << asked;
    EXPECT_EQ(e.advice.find("parted by their density") != std::string::npos,
              e.method == EstimationMethod::kDensity)
        << e.advice;
    if (e.num_exits < asked) {
      EXPECT_EQ(e.method, EstimationMethod::kMixture);
      EXPECT_TRUE(e.advice.starts_with("only " + std::to_string(e.num_exits) + " exits of 50")) << e.advice;
    }
  }
  // The search does not stop short of the number asked for where a mixture of so many is one of exits.
  const double eight[] = {40000, 43000, 46000, 49000, 52000, 55000, 58000, 61000};
  const std::size_t rare[] = {600, 8, 500, 8, 400, 8, 300, 8};
  EXPECT_EQ(by_mixture(normal_times(eight, rare, 300, 3), 1, {.known_exits = 8}).method,
            EstimationMethod::kMixture);
}

TEST(ExitMixture, BadTimesAreNamed) {
  EXPECT_MESSAGE(by_mixture(std::vector<double>{1, std::nan(""), 2}),
                 "times must be finite, got nan at index 1");
  EXPECT_MESSAGE(by_mixture(std::vector<double>{}), "times must hold at least one value");
}

// Timings over a LAN of others' networks (NDSS 2024), four tables.
TEST(ExitMixture, OtherPeoplesTimings) {
  const auto folder = std::filesystem::path(OFFRAMP_SOURCE_DIR) / "../shared/data/exit-timings";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no ../shared/data/exit-timings";
  struct Want {
    const char* file;
    std::size_t exits, found;  // found 0: the times cannot carry the number, the interval holds it
    double short_of_best;
    bool reliable;
  };
  for (const Want& w : {Want{"branch_cancer", 3, 3, 0, true},
                        Want{"msdnet_fairface", 3, 3, 0.02, false},
                        Want{"sdn_fairface", 7, 0, 0.02, false},
                        Want{"ranet_cancer", 6, 0, 1, false}}) {
    std::ifstream file(folder / (std::string(w.file) + ".csv"));
    ASSERT_TRUE(file) << w.file;
    std::string line, cell;
    std::getline(file, line);
    const bool numbered = line.front() == ',';
    std::vector<double> ns;
    std::vector<std::size_t> exit;
    while (std::getline(file, line)) {
      std::istringstream cells(line);
      if (numbered) std::getline(cells, cell, ',');
      std::getline(cells, cell, ',');
      exit.push_back(std::stoul(cell));
      ns.push_back(1e9 * std::stod(line.substr(line.find_last_of(',') + 1)));
    }
    const ExitEstimate e = by_mixture(ns);
    EXPECT_EQ(e.tick_ns, 100000) << w.file;
    if (w.found > 0) {
      EXPECT_EQ(e.num_exits, w.found) << w.file << ": " << e.advice;
    }
    EXPECT_LE(e.least_exits, w.exits) << w.file;
    EXPECT_GE(e.most_exits, w.exits) << w.file;
    EXPECT_EQ(e.reliable, w.reliable) << w.file << ": " << e.advice;
    EXPECT_GE(test::share_equal(e.exits, exit), test::best_threshold_accuracy(ns, exit) - w.short_of_best)
        << w.file;
  }
}

// The promise, on seeds of its own; the whole of it is exits_bench calibrate (docs/results/exits.md).
TEST(ExitMixture, ReliableIsKeptOnSyntheticTraces) {
  std::size_t six = 0, six_reliable = 0, wrong = 0;
  for (std::uint64_t seed = 410000; seed < 410030; ++seed) {
    const test::ExitTrace t = test::draw_exit_trace(seed);
    const ExitEstimate e = by_mixture(t.ns);
    wrong += e.reliable && e.num_exits != t.exits;
    if (t.separation < 6 || t.exits < 2) continue;
    ++six;
    six_reliable += e.reliable;
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_GE(10 * six_reliable, 9 * six - 10) << six;
}

}  // namespace
}  // namespace offramp::stats
