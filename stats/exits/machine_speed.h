// A machine that is now faster, now slower makes all running times of a moment shorter or longer together.
// Where the order of the measurements is known and every sample was measured several times, at moments that
// have nothing to do with each other, the speed of each moment can be told from the times themselves and
// divided out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace offramp::stats {

// Where in its pass over all samples each measurement was taken: [n, repetitions] row-major as the times,
// from 0. Pass p is column p; the passes follow each other. An empty one: not known.
using MeasurementOrder = std::span<const std::int32_t>;

struct EvenedTimes {
  std::vector<double> times_ns;  // [n, repetitions]: as they would have been at the run's median speed
  // 5 % and 95 % quantile of how long the windows took; 1.3 is 1.3 times as long as at the median speed.
  double shortest = 1, longest = 1;
};

inline constexpr std::size_t kSpeedWindow = 8;    // measurements that share a speed
inline constexpr std::size_t kLeastForSpeed = 4;  // repetitions from which on a sample has a level of its own

// Time = level of the sample * slowness of the window, both by medians in turn (median polish of the
// logarithms, Tukey 1977). A measurement's own window is without it: else each sample's error would pull its
// windows along, in all its repetitions alike, where their differences do not show it. ValueError: the order
// is no permutation in some pass, or its size is not that of the times; repetitions below kLeastForSpeed.
EvenedTimes even_out_speed(std::span<const double> times_ns, std::size_t repetitions, MeasurementOrder order);

}  // namespace offramp::stats
