// Array forms of the vector exp2 and log2 of this room; their error is what the tests hold them to:
// at most 2 units in the last place (exp2), and 4 units of the larger of |log2 x| and 2^-4 (log2).
#pragma once

#include <span>

namespace offramp::stats {

// out[i] = 2^x[i]; x is clamped to [-1021, 1023]. Lengths must match (ValueError). NaN gives an unspecified
// value.
void exp2_all(std::span<const double> x, std::span<double> out);
// out[i] = log2 x[i]; x must be positive and normal (not checked). Lengths must match (ValueError).
void log2_all(std::span<const double> x, std::span<double> out);

}  // namespace offramp::stats
