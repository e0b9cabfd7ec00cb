// The parts of the mixture of exits against brute force and numerical references: the clock, the partition of its cells,
// the likelihood and its maximum.
#include "stats/exits/exit_mixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <random>
#include <utility>
#include <vector>

#include "stats/exits/cell_partition.h"
#include "tests/stats/exits/normal_times.h"

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
  // 2 us, where most readings are tens: 4 us would fit 144 us, and not 110 or 130.
  std::vector<double> tens;
  for (const auto& [us, count] :
       {std::pair(100, 300), {110, 120}, {120, 300}, {130, 120}, {140, 300}, {144, 250}})
    tens.insert(tens.end(), static_cast<std::size_t>(count), 1000.0 * us);
  EXPECT_EQ(clock_tick(tens), 2000);
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

}  // namespace
}  // namespace offramp::stats
