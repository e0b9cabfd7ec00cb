#include "stats/vector_math.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

constexpr double kUlp = std::numeric_limits<double>::epsilon();

TEST(VectorMath, Exp2IsWithinTwoUlpOverTheWholeRange) {
  std::mt19937_64 rng(1);
  std::uniform_real_distribution<double> wide(-1020, 1022), near(-1, 1);
  std::vector<double> x = {0, 0.5, -0.5, 1, -1, 1023, -1021, 1e-300, -1e-17};
  for (int i = 0; i < 200000; ++i) {
    x.push_back(i % 2 ? wide(rng) : near(rng));
  }
  std::vector<double> y(x.size());
  exp2_all(x, y);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const long double exact = std::exp2(static_cast<long double>(x[i]));
    ASSERT_LE(std::abs(y[i] - exact), 2 * kUlp * exact) << "x = " << x[i];
  }
  EXPECT_EQ(y[0], 1.0);
  EXPECT_EQ(y[3], 2.0);
}

TEST(VectorMath, Exp2ClampsInsteadOfUnderflowing) {
  const std::vector<double> x = {
      -1e300, -5000, -1021.5, 5000, 1e300, -std::numeric_limits<double>::infinity()};
  std::vector<double> y(x.size());
  exp2_all(x, y);
  const double low = std::ldexp(1.0, -1021), high = std::ldexp(1.0, 1023);
  EXPECT_EQ(y, (std::vector<double>{low, low, low, high, high, low}));
}

TEST(VectorMath, Log2IsWithinFourUlpOfItsSize) {
  std::mt19937_64 rng(2);
  std::uniform_real_distribution<double> exponent(-1000, 1000), near(0.5, 2);
  std::vector<double> x = {1, 2, 0.5, 0.71875, 0.96875, 1.0625, 1.4375, std::nextafter(1.0, 0), 1 + kUlp};
  for (int i = 0; i < 200000; ++i) {
    x.push_back(i % 2 ? std::exp2(exponent(rng)) : near(rng));
  }
  std::vector<double> y(x.size());
  log2_all(x, y);
  // Instrumented code keeps values in memory and does not fuse r = m/c - 1: then r is off by half an ulp of
  // 1, its logarithm by 1/ln 2 of that.
#if defined(__SANITIZE_ADDRESS__)
  constexpr double kUnfused = 1.4427 * kUlp / 2;
#else
  constexpr double kUnfused = 0;
#endif
  for (std::size_t i = 0; i < x.size(); ++i) {
    const long double exact = std::log2(static_cast<long double>(x[i]));
    ASSERT_LE(std::abs(y[i] - exact), 4 * kUlp * std::max(std::abs(exact), 0.0625L) + kUnfused)
        << "x = " << x[i];
  }
  EXPECT_EQ(y[0], 0.0);
}

TEST(VectorMath, LengthsMustAgree) {
  std::vector<double> x(3), y(2);
  EXPECT_MESSAGE(exp2_all(x, y), "exp2_all: x and out must have equal lengths, got 3 and 2");
}

}  // namespace
}  // namespace offramp::stats
