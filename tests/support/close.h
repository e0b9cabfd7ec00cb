#pragma once
// Comparison of a result with a double reference within a derived bound per element.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/bf16.h"
#include "tests/support/random.h"

namespace offramp::test {

// Distance from 1 to the next number of T.
template <class T>
inline constexpr double kEps = std::numeric_limits<T>::epsilon();
template <>
inline constexpr double kEps<bf16> = 0x1p-7;

// Error bound of a sum of `length` products accumulated in float in any order; `absolute_sum` is sum |a| |b|.
// 8 eps sqrt(length) sum |a| |b|: the rounding errors of a long sum behave like a random walk (style.md
// section 9).
inline double sum_bound(double length, double absolute_sum, double eps = kEps<float>) {
  return 8 * eps * std::sqrt(std::max(length, 1.0)) * absolute_sum;
}

// What storing `value` as T may cost on top of a bound on value itself: half a step of T, and the step
// belongs to a value that may already be off by `bound`.
template <class T>
double stored_bound(double value, double bound) {
  return bound + kEps<T> / 2 * (std::fabs(value) + bound) + std::numeric_limits<float>::denorm_min();
}

// Element i must be within bound[i] of expected[i]. NaN and infinity equal only themselves. The message names
// the first and the worst offender.
template <class T>
::testing::AssertionResult all_close(const std::vector<T>& got,
                                     const std::vector<double>& expected,
                                     const std::vector<double>& bound) {
  if (got.size() != expected.size() || got.size() != bound.size()) {
    return ::testing::AssertionFailure() << "sizes differ: got " << got.size() << ", expected "
                                         << expected.size() << ", bounds " << bound.size();
  }
  const std::vector<double> values = to_double(got);
  std::size_t bad = 0, first = 0, worst = 0;
  double worst_ratio = -1;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double error = std::fabs(values[i] - expected[i]);
    const bool both_nan = std::isnan(values[i]) && std::isnan(expected[i]);
    if (error <= bound[i] || values[i] == expected[i] || both_nan) continue;
    if (bad++ == 0) first = i;
    const double ratio =
        std::isnan(error) ? std::numeric_limits<double>::infinity() : error / std::max(bound[i], 1e-300);
    if (ratio > worst_ratio) {
      worst_ratio = ratio;
      worst = i;
    }
  }
  if (bad == 0) return ::testing::AssertionSuccess();
  std::ostringstream text;
  text.precision(9);
  const auto line = [&](const char* name, std::size_t i) {
    text << name << " [" << i << "]: expected " << expected[i] << ", got " << values[i] << ", error "
         << std::fabs(values[i] - expected[i]) << ", bound " << bound[i] << "\n";
  };
  text << bad << " of " << values.size() << " values out of bounds (seed " << kSeed << ")\n";
  line("first", first);
  line("worst", worst);
  return ::testing::AssertionFailure() << text.str();
}

// One bound for all elements.
template <class T>
::testing::AssertionResult all_close(const std::vector<T>& got,
                                     const std::vector<double>& expected,
                                     double bound) {
  return all_close(got, expected, std::vector<double>(expected.size(), bound));
}

// Same bits (so that 0 and -0 differ and NaN equals itself).
template <class T>
::testing::AssertionResult same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) {
    return ::testing::AssertionFailure() << "sizes differ: " << a.size() << " and " << b.size();
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) {
      return ::testing::AssertionFailure() << "element " << i << " of " << a.size()
                                           << " differs: " << to_double(a)[i] << " and " << to_double(b)[i];
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace offramp::test

#define EXPECT_CLOSE(got, expected, bound) EXPECT_TRUE(::offramp::test::all_close(got, expected, bound))
#define EXPECT_SAME_BITS(a, b) EXPECT_TRUE(::offramp::test::same_bits(a, b))
