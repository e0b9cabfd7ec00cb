// Resampled differences of deciles between two classes of dependent measurements: what the verdict and the planner share.
#pragma once

#include <vector>

#include "stats/timing/timing_verdict.h"

namespace offramp::stats {

struct DecileDifferences {
  Deciles difference{};            // b - a
  Deciles deviation{};             // of the resampled differences, corrected for the length of the blocks
  std::vector<Deciles> resampled;  // - difference
  std::size_t n_a = 0, n_b = 0, block = 1, atoms = 0;  // atoms: blocks or inputs that are resampled
  double correlation_time = 1;

  // Largest |resampled_j| / deviation_j of each resample, over a drawn estimate of the deviation from `atoms` parts,
  // ascending; deciles without deviation left out.
  std::vector<double> largest(std::uint64_t seed) const;
};

// Integrated autocorrelation time of a series, 1 + 2 sum of correlations up to the lag where the window rule of Sokal
// (lag >= 5 times the sum) stops, at least 1; at most a tenth of the series is looked at.
double integrated_correlation_time(std::span<const double> series);

// Values must be finite; both classes must have values.
DecileDifferences decile_differences(const ClassifiedTimes& times, const TimingTestOptions& options);

}  // namespace offramp::stats
