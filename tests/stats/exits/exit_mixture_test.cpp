// The mixture of exits that share the shape of the noise: its parts against brute force and numerical references, and
// the cases that a density or changepoints fail on.
#include "stats/exits/exit_mixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <numbers>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "stats/exits/cell_partition.h"
#include "stats/exits/exit_estimation.h"
#include "tests/stats/expect_message.h"
#include "tests/support/exit_traces.h"
#include "tests/support/noise_models.h"

namespace offramp::stats {
namespace {

TimeCells unit_cells(std::vector<double> counts) {
  TimeCells cells;
  for (std::size_t c = 0; c < counts.size(); ++c) {
    cells.low.push_back(static_cast<double>(c) - 0.5);
    cells.high.push_back(static_cast<double>(c) + 0.5);
  }
  cells.count = std::move(counts);
  return cells;
}

ExitEstimate by_mixture(std::span<const double> ns, std::size_t repetitions = 1, EstimationOptions o = {}) {
  o.method = EstimationMethod::kMixture;
  o.threads = 1;
  return estimate_exits(ns, repetitions, o);
}

std::vector<double> normal_times(std::span<const double> centres,
                                 std::span<const std::size_t> counts,
                                 double sigma,
                                 std::uint64_t seed,
                                 double tick = 0) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal(0, sigma);
  std::vector<double> out;
  for (std::size_t k = 0; k < centres.size(); ++k)
    for (std::size_t i = 0; i < counts[k]; ++i) {
      const double t = centres[k] + normal(rng);
      out.push_back(tick > 0 ? tick * std::round(t / tick) : t);
    }
  std::shuffle(out.begin(), out.end(), rng);
  return out;
}

// --- the clock ---

TEST(TimeCells, TheTickIsWhereValuesClusterNotTheSmallestDifference) {
  std::vector<double> float_seconds;
  std::mt19937_64 rng(3);
  std::uniform_int_distribution<int> steps(8, 25);
  for (int i = 0; i < 500; ++i)
    float_seconds.push_back(1e9 * static_cast<double>(1e-5f * static_cast<float>(steps(rng))));
  EXPECT_EQ(clock_tick(float_seconds), 10000);
  std::vector<double> odd;
  for (int i = 0; i < 500; ++i) odd.push_back(41.0 * steps(rng));
  EXPECT_NEAR(clock_tick(odd), 41, 1e-6);
  for (double& t : odd) t += 1e-3 * static_cast<double>(rng() % 1000003);  // hardly a value twice
  EXPECT_EQ(clock_tick(odd), 0);
  EXPECT_EQ(clock_tick(std::vector<double>(40, 7.0)), 0);
  // All near a multiple of 2.5 ms is no clock of 2.5 ms; one of 1 ns is finer than what float32 would keep.
  const double centres[] = {2500000, 5000000};
  const std::size_t counts[] = {1500, 1000};
  EXPECT_EQ(clock_tick(normal_times(centres, counts, 70, 8, 1)), 0);
}

TEST(TimeCells, EveryTimeIsInTheCellThatCountsItOrReplaced) {
  std::vector<double> ns = {1000, 2000, 2000, 4000, 2000, 1000, 1000, 2000, 4000, 1333.25};
  const TimeCells cells = count_cells(ns, 1000);
  EXPECT_EQ(cells.count, (std::vector<double>{3, 4, 2}));
  EXPECT_EQ(cells.replaced, 1u);
  EXPECT_EQ(cells.cell_of, (std::vector<std::uint32_t>{0, 1, 1, 2, 1, 0, 0, 1, 2, TimeCells::kNone}));
  for (std::size_t c = 0; c < 3; ++c) EXPECT_DOUBLE_EQ(cells.high[c] - cells.low[c], 1);
  // On a fine clock neighbours share a cell, no cell is empty, and the cells keep the order.
  const double centres[] = {40000, 60000};
  const std::size_t counts[] = {3000, 2000};
  const auto fine = normal_times(centres, counts, 300, 5);
  const TimeCells many = count_cells(fine, 0, 100);
  EXPECT_LE(many.count.size(), 100u);
  EXPECT_GE(many.count.size(), 80u);
  EXPECT_EQ(many.total(), 5000);
  for (std::size_t c = 0; c < many.count.size(); ++c) {
    EXPECT_LT(many.low[c], many.high[c]);
    if (c > 0) {
      EXPECT_LE(many.high[c - 1], many.low[c] + 1e-12);
    }
  }
  for (std::size_t i = 0; i < fine.size(); ++i) {
    const double x = (fine[i] - many.origin_ns) / many.unit_ns;
    EXPECT_GE(x, many.low[many.cell_of[i]] - 1e-9);
    EXPECT_LE(x, many.high[many.cell_of[i]] + 1e-9);
  }
}

// --- the exact partition ---

TEST(CellPartition, IsTheBestOfAllCutsAndOutliers) {
  std::mt19937_64 rng(11);
  for (int round = 0; round < 20; ++round) {
    std::vector<double> counts;
    for (int c = 0; c < 7; ++c) counts.push_back(static_cast<double>(1 + rng() % 9));
    const TimeCells cells = unit_cells(counts);
    const double n = cells.total();
    const PartitionOptions o{.least_sd = 0.5, .least_count = 2, .outlier_cost = 4};
    const auto found = best_partitions(cells, 4, o);
    for (std::size_t exits = 1; exits <= 4; ++exits) {
      // Every labelling of seven cells by 0..exits (0: left out) whose exits are runs in order.
      double best = -std::numeric_limits<double>::infinity();
      std::vector<std::size_t> label(7);
      const std::function<void(std::size_t)> all = [&](std::size_t c) {
        if (c < 7) {
          for (label[c] = 0; label[c] <= exits; ++label[c]) all(c + 1);
          return;
        }
        double value = 0;
        std::size_t last = 0;
        for (std::size_t i = 0; i < 7; ++i) {
          if (label[i] == 0) {
            value -= o.outlier_cost * counts[i];
            continue;
          }
          if (label[i] < last || (label[i] == last && label[i - 1] != last)) return;
          last = label[i];
        }
        for (std::size_t k = 1; k <= exits; ++k) {
          double m = 0, s = 0, ss = 0;
          for (std::size_t i = 0; i < 7; ++i)
            if (label[i] == k) m += counts[i], s += counts[i] * static_cast<double>(i);
          if (m < o.least_count) return;
          for (std::size_t i = 0; i < 7; ++i)
            if (label[i] == k) ss += counts[i] * std::pow(static_cast<double>(i) - s / m, 2);
          const double variance = std::max(ss / m, 0.25);
          value += m * (std::log(m / n) - 0.5 * std::log(variance)) - 0.5 * ss / variance;
        }
        best = std::max(best, value);
      };
      all(0);
      ASSERT_EQ(found.size() >= exits, std::isfinite(best)) << round << ' ' << exits;
      if (found.size() >= exits) {
        EXPECT_NEAR(found[exits - 1].log_likelihood, best, 1e-9) << round << ' ' << exits;
      }
    }
  }
}

// --- the mixture ---

TEST(ShapeMixture, TheLikelihoodIsThatOfTheFormula) {
  const TimeCells cells = unit_cells({5, 9, 3, 1, 2, 8, 7, 1});
  ShapeFit fit(cells, 0.3);
  std::vector<std::size_t> labels = {0, 0, 0, 0, 1, 1, 1, 1};
  ShapeMixture m = fit.start(labels, 2, {2, true, true});
  m.share = {0.45, 0.55};
  m.location = {1.1, 5.6};
  m.scale = {1.0, 1.3};
  m.offset = {-0.2, 0.7};
  m.width = {0.6, 0.1};  // the second is held at least_width
  m.weight = {0.7, 0.3, 0.6, 0.4};
  m.background = 0.01;
  const auto cdf = [](double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); };
  // The central 98 % of the counts lie in cells 0..7.
  const double centre = 3.5, reach = 3.5;
  double want = 0;
  for (std::size_t c = 0; c < 8; ++c) {
    const double a = cells.low[c], b = cells.high[c];
    double p = 0.01 * (std::atan((b - centre) / reach) - std::atan((a - centre) / reach)) / std::numbers::pi;
    for (std::size_t k = 0; k < 2; ++k)
      for (std::size_t j = 0; j < 2; ++j) {
        const double at = m.location[k] + m.scale[k] * m.offset[j],
                     width = std::max(m.scale[k] * m.width[j], 0.3);
        p += 0.99 * m.share[k] * m.weight[2 * k + j] * (cdf((b - at) / width) - cdf((a - at) / width));
      }
    want += cells.count[c] * std::log(p);
  }
  EXPECT_NEAR(fit.log_likelihood(m), want, 1e-10 * std::abs(want));
}

TEST(ShapeMixture, NoStepLowersTheLikelihoodAndTheEndIsAMaximum) {
  const double centres[] = {40000, 41500, 44000};
  const std::size_t counts[] = {500, 300, 200};
  const auto ns = normal_times(centres, counts, 300, 9, 100);
  const TimeCells cells = count_cells(ns, 100);
  std::vector<std::size_t> labels;
  for (std::size_t c = 0; c < cells.count.size(); ++c) {
    const double t = cells.origin_ns + cells.unit_ns * 0.5 * (cells.low[c] + cells.high[c]);
    labels.push_back(t < 40700 ? 0 : t < 42700 ? 1 : 2);
  }
  for (const ShapeFamily family : {ShapeFamily{1, false, false},
                                   ShapeFamily{1, true, false},
                                   ShapeFamily{2, false, false},
                                   ShapeFamily{2, true, false},
                                   ShapeFamily{3, true, false},
                                   ShapeFamily{2, true, true}}) {
    ShapeFit fit(cells, 1e-3);  // no floor in reach: each step maximises in its variables
    ShapeMixture m = fit.start(labels, 3, family);
    double last = fit.log_likelihood(m);
    for (int step = 0; step < 60; ++step) {
      fit.run(m, 1, -1);
      ASSERT_GE(m.log_likelihood, last - 1e-9 * std::abs(last)) << family.parts << family.free_scale << step;
      last = m.log_likelihood;
    }
    fit.run(m, 20000, 1e-10);
    // Central differences of the locations, at a place where everything else is at its best.
    for (std::size_t k = 0; k < 3; ++k) {
      const auto at = [&](double d) {
        ShapeMixture moved = m;
        moved.location[k] += d;
        return fit.log_likelihood(moved);
      };
      const double slope = (at(1e-3) - at(-1e-3)) / 2e-3, curve = (at(1e-2) - 2 * at(0) + at(-1e-2)) / 1e-4;
      EXPECT_LT(curve, 0);
      EXPECT_LT(std::abs(slope / curve), 0.02) << family.parts << family.free_scale << k;  // ticks to the top
    }
  }
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
  EXPECT_GT(e.thresholds_ns[0], 40450);
  EXPECT_LT(e.thresholds_ns[0], 40800);
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
