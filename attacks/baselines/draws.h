#pragma once
// Random numbers beyond the uniform ones, from Philox: the same on every machine with IEEE doubles and this libm.
#include <cstdint>
#include <vector>

#include "kernels/philox.h"

namespace offramp::attacks {

// N(0, 1), element i of a key; takes uniforms 2i and 2i + 1.
double normal(const PhiloxKey& key, std::uint64_t element);
// Gamma(shape, 1), shape > 0 (Marsaglia and Tsang 2000; below 1 by the power of a uniform). Draws from `at` on and moves it.
double gamma(const PhiloxKey& key, std::uint64_t& at, double shape);
// A point of the simplex with these concentrations; sums to 1.
std::vector<float> dirichlet(const PhiloxKey& key,
                             std::uint64_t& at,
                             const std::vector<double>& concentration);

}  // namespace offramp::attacks
