// Peaks and valleys of a density and their pruning (specs/extraction.md 2.2, steps 3 and 4).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "stats/kde.h"

namespace offramp::stats {

// Peaks and the valleys between them, left to right: peaks.size() == valleys.size() + 1.
struct DensityExtrema {
  struct Point {
    double x, f;
  };
  std::vector<Point> peaks, valleys;
  double bandwidth =
      0;  // the one used: larger than asked when the data spans too many bandwidths (2^21 points)
};

// All strict extrema of the Gaussian KDE of an ascending sample, on a grid of h/8 and refined by golden
// section; plateaus count once, at their middle; stretches without samples in reach are plateaus of height 0.
// `density` evaluates the grid elsewhere; the refinement, a few points, stays here.
DensityExtrema density_extrema(std::span<const double> sorted,
                               double bandwidth,
                               unsigned threads = 1,
                               const DensityFunction& density = {});

// Removes valleys until none fails. First: the worst with f(valley) > max_ratio * lower neighbour peak. Then:
// the smallest cluster with less than min_share of the samples is merged over its higher valley.
void prune_valleys(DensityExtrema& extrema,
                   std::span<const double> sorted,
                   double max_ratio = 0.5,
                   double min_share = 0.005);

// Removes the least prominent valley (largest valley / lower peak) until at most `count` are left.
void keep_prominent_valleys(DensityExtrema& extrema, std::size_t count);

// Only the share rule of prune_valleys.
void merge_small_clusters(DensityExtrema& extrema, std::span<const double> sorted, double min_share);

}  // namespace offramp::stats
