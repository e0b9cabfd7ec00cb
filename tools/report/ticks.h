#pragma once
// Axis ticks at round numbers.
#include <string>
#include <vector>

namespace offramp::report {

struct Tick {
  double value;
  std::string label;  // empty: a minor tick
};

// At most about `wanted` ticks at multiples of 1, 2, 2.5 or 5 times a power of ten inside [low, high]; all
// labels have the same number of decimals. Needs low < high.
std::vector<Tick> linear_ticks(double low, double high, int wanted);
// Powers of ten inside [low, high] (every second, third ... when many), with minor ticks at 2..9 between when
// there are few; with less than one whole decade, round numbers as in linear_ticks. Needs 0 < low < high.
std::vector<Tick> log_ticks(double low, double high, int wanted);

}  // namespace offramp::report
