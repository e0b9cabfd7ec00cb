#include "tools/report/ticks.h"

#include <gtest/gtest.h>

#include <cmath>

namespace offramp::report {
namespace {

std::vector<std::string> labels(const std::vector<Tick>& ticks) {
  std::vector<std::string> out;
  for (const Tick& t : ticks)
    if (!t.label.empty()) out.push_back(t.label);
  return out;
}

TEST(LinearTicks, StandAtRoundNumbersWithEqualDecimals) {
  EXPECT_EQ(labels(linear_ticks(0, 1, 5)),
            (std::vector<std::string>{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_EQ(labels(linear_ticks(-1, 9, 5)), (std::vector<std::string>{"0", "2", "4", "6", "8"}));
  EXPECT_EQ(labels(linear_ticks(.9, 1, 4)),
            (std::vector<std::string>{"0.900", "0.925", "0.950", "0.975", "1.000"}));
  EXPECT_EQ(labels(linear_ticks(0, 60000, 3)), (std::vector<std::string>{"0", "20,000", "40,000", "60,000"}));
}

TEST(LinearTicks, AreInsideAndFewForAnyRange) {
  for (const double size : {1e-12, 3e-5, .7, 19., 4e6, 8e14})
    for (const double start : {-1., 0., .3, 100.})
      for (const int wanted : {1, 3, 6, 10}) {
        const double low = start * size, high = low + size;
        const auto ticks = linear_ticks(low, high, wanted);
        ASSERT_LE(ticks.size(), static_cast<std::size_t>(wanted + 2));
        for (const Tick& t : ticks) {
          EXPECT_GE(t.value, low - size * 1e-6);
          EXPECT_LE(t.value, high + size * 1e-6);
        }
      }
}

TEST(LogTicks, ArePowersOfTen) {
  EXPECT_EQ(labels(log_ticks(.01, 100, 6)), (std::vector<std::string>{"0.01", "0.1", "1", "10", "100"}));
  EXPECT_EQ(labels(log_ticks(1e-9, 1e9, 6)),
            (std::vector<std::string>{"1e-9", "1e-6", "0.001", "1", "1,000", "1e6", "1e9"}));
  EXPECT_GT(log_ticks(1, 100, 6).size(), 3u);                            // minor ticks between
  EXPECT_EQ(labels(log_ticks(2, 9, 3)), labels(linear_ticks(2, 9, 3)));  // less than a decade
}

}  // namespace
}  // namespace offramp::report
