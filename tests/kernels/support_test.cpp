// The helpers of tests/support must be able to fail.
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/support/close.h"
#include "tests/support/fenced.h"
#include "tests/support/gradcheck.h"

namespace offramp::test {
namespace {

TEST(Fenced, StartsAsNanAndAcceptsWritesInside) {
  Fenced<float> buffer(5, 1);
  EXPECT_TRUE(std::isnan(buffer.values()[4]));
  for (int i = 0; i < 5; ++i) buffer.data()[i] = 1.f;
  EXPECT_EQ(buffer.values(), std::vector<float>(5, 1.f));
  Fenced<bf16> half(3);
  EXPECT_TRUE(std::isnan(static_cast<float>(half.values()[2])));
}

TEST(Fenced, ReportsAWriteOnEitherSide) {
  EXPECT_NONFATAL_FAILURE(
      {
        Fenced<float> buffer(5);
        buffer.data()[5] = 1.f;
      },
      "byte 2");
  EXPECT_NONFATAL_FAILURE(
      {
        Fenced<std::int32_t> buffer(5, 3);
        buffer.data()[-1] = 1;
      },
      "byte -4 of a buffer of 20 bytes");
}

TEST(Close, NamesFirstAndWorstOffender) {
  const std::vector<float> got = {1.f, 2.5f, 3.f, std::numeric_limits<float>::quiet_NaN()};
  const auto result = all_close(got, {1.0, 2.0, 3.0, 4.0}, 0.1);
  ASSERT_FALSE(result);
  EXPECT_NE(std::string(result.message()).find("2 of 4 values"), std::string::npos);
  EXPECT_NE(std::string(result.message()).find("first [1]: expected 2, got 2.5"), std::string::npos);
  EXPECT_NE(std::string(result.message()).find("worst [3]"), std::string::npos);
  EXPECT_TRUE(all_close(got, {1.05, 2.45, 3.0, std::numeric_limits<double>::quiet_NaN()}, 0.1));
}

TEST(Close, BitComparisonSeesTheSignOfZero) {
  EXPECT_TRUE(same_bits<float>({0.f, 1.f}, {0.f, 1.f}));
  EXPECT_FALSE(same_bits<float>({0.f, 1.f}, {-0.f, 1.f}));
}

TEST(Gradcheck, AcceptsTheRightGradientAndRefusesOthers) {
  const VectorFn square = [](const std::vector<double>& x) {
    return std::vector<double>{x[0] * x[0], x[0] * x[1]};
  };
  const std::vector<double> x = {0.5, -2}, u = {1, 3};
  expect_gradient(square, x, u, {2 * 0.5 + 3 * -2, 3 * 0.5});
  static const VectorFn constant = [](const std::vector<double>&) { return std::vector<double>{1, 2}; };
  EXPECT_FATAL_FAILURE(expect_gradient(constant, {0.5, -2}, {1, 3}, {0, 0}), "blind");
  static const VectorFn linear = [](const std::vector<double>& v) { return v; };
  EXPECT_FATAL_FAILURE(expect_gradient(linear, {0.5, -2}, {1, 3}, {1, 3.1}), "input 1 of 2");
}

}  // namespace
}  // namespace offramp::test
