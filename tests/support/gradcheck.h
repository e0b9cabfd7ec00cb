#pragma once
// Gradient check of a reference in double: for y = forward(x) and a random cotangent u, the analytic gradient
// of sum(u * y) against central differences. (A plain sum would be blind where outputs sum to a constant, as
// softmax's.)
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "tests/support/random.h"

namespace offramp::test {

using VectorFn = std::function<std::vector<double>(const std::vector<double>&)>;

// Relative to the largest derivative. With step h = 1e-5 the difference quotient errs by h^2 |f'''| / 6 and
// by eps |f| / h, both near 1e-10 for values of order one.
inline constexpr double kGradientTolerance = 1e-6;

inline std::vector<double> numeric_gradient(const VectorFn& forward,
                                            std::vector<double> x,
                                            const std::vector<double>& cotangent) {
  std::vector<double> gradient(x.size());
  const auto value = [&] {
    const std::vector<double> y = forward(x);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += cotangent[i] * y[i];
    return sum;
  };
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double saved = x[i], h = 1e-5 * std::max(1.0, std::fabs(saved));
    x[i] = saved + h;
    const double up = value();
    x[i] = saved - h;
    const double down = value();
    x[i] = saved;
    gradient[i] = (up - down) / (2 * h);
  }
  return gradient;
}

// Also fails where the analytic gradient is nowhere far from zero: such a test could not fail.
inline void expect_gradient(const VectorFn& forward,
                            const std::vector<double>& x,
                            const std::vector<double>& cotangent,
                            const std::vector<double>& analytic) {
  const std::vector<double> numeric = numeric_gradient(forward, x, cotangent);
  ASSERT_EQ(numeric.size(), analytic.size());
  double largest = 0;
  for (double value : numeric) largest = std::max(largest, std::fabs(value));
  ASSERT_GT(largest, 1e-3) << "the gradient is near zero everywhere: the test is blind";
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_NEAR(analytic[i], numeric[i], kGradientTolerance * largest)
        << "input " << i << " of " << x.size() << ", largest derivative " << largest << ", seed " << kSeed;
  }
}

inline std::vector<double> random_cotangent(std::size_t n, std::uint32_t stream) {
  return to_double(random_vector<float>(n, stream));
}

}  // namespace offramp::test
