// How far the difference of each decile may lie from what was measured, over all nine at once: the verdict's statistic,
// its deviations and its distribution where the classes do not differ.
//
// Classes in random order: the classes are drawn again over the same times (or over whole inputs), and every drawing is
// studentised by deviations of its own (Chung, Romano 2013). Where no time depends on its class the chance of a false alarm is
// then alpha, whatever the noise and however its times depend on each other; where the classes differ in spread too, it is so
// for many measurements. Else (classes in runs, or options.block is given): blocks of time are resampled (decile_differences).
#pragma once

#include <vector>

#include "stats/timing/timing_verdict.h"

namespace offramp::stats {

struct DecileRegion {
  Deciles difference{};  // b - a
  Deciles deviation{};   // its standard deviation; 0: there is no spread
  std::vector<double>
      largest;  // max over deciles of |difference| in deviations where nothing differs; ascending
  bool classes_drawn = false;   // false: blocks of time were resampled
  bool inputs_drawn = false;    // whole inputs, measured several times
  bool inputs_mixed = true;     // in time: not those of one class before those of the other
  std::size_t block = 1;        // measurements resampled together
  std::size_t atoms = 0;        // what was drawn: measurements, inputs or blocks
  double correlation_time = 1;  // of what blocks were made for
};

// Values must be finite; both classes must have values.
DecileRegion decile_region(const ClassifiedTimes& times, const TimingTestOptions& options);

// (|difference| - limit) in deviations; without a deviation +-infinity.
double excess_in_deviations(double difference, double deviation, double limit);

struct RegionReading {
  std::size_t largest = 0;  // the decile furthest beyond the limit, in its deviations
  double p_value = 1;       // of "every decile's difference is at most the limit"
};
// limit in ns, at least 0.
RegionReading read_region(const DecileRegion& region, double limit);

}  // namespace offramp::stats
