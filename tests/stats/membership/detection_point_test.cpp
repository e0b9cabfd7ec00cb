#include "stats/membership/detection_point.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

// 0, 1, .. n - 1.
std::vector<double> ladder(std::size_t n) {
  std::vector<double> x;
  for (std::size_t i = 0; i < n; ++i) x.push_back(static_cast<double>(i));
  return x;
}

TEST(DetectionPoint, IntervalsOfTheSpec) {  // specs/audit.md 1, printed to 6 digits
  const auto none = exact_interval(0, 1000);
  EXPECT_NEAR(none.high, .00368208, 5e-9);
  EXPECT_EQ(none.low, 0);
  const auto ten = exact_interval(10, 1000);
  EXPECT_NEAR(ten.low, .004806, 5e-7);
  EXPECT_NEAR(ten.high, .018313, 5e-7);
  const auto three = exact_interval(3, 100);
  EXPECT_NEAR(three.low, .006230, 5e-7);
  EXPECT_NEAR(three.high, .085176, 5e-7);
}

TEST(DetectionPoint, RealisesTheRateThatWasWanted) {
  const std::vector<double> non_members = ladder(1000);
  std::vector<double> members;
  for (std::size_t i = 0; i < 100; ++i) members.push_back(994.5 - (i < 30 ? 0 : 900));
  const auto at = detection_point(members, non_members, .01);
  EXPECT_TRUE(at.refused.empty());
  EXPECT_EQ(at.threshold, 990);  // 990 .. 999 are ten of a thousand
  EXPECT_EQ(at.false_alarms, 10u);
  EXPECT_EQ(at.fpr.estimate, .01);
  EXPECT_EQ(at.members_found, 30u);
  EXPECT_EQ(at.tpr.low, exact_interval(30, 100).low);
  EXPECT_EQ(at.fpr.high, exact_interval(10, 1000).high);
  const auto half = detection_point(members, non_members, .01, .5);
  EXPECT_EQ(half.tpr.low, exact_interval(30, 100, .5).low);
  EXPECT_EQ(half.fpr.high, exact_interval(10, 1000, .5).high);
  const auto zero = detection_point(members, non_members, 0);
  EXPECT_EQ(zero.members_found, 0u);
  EXPECT_EQ(zero.false_alarms, 0u);
  EXPECT_TRUE(zero.refused.empty());
}

TEST(DetectionPoint, IsTheBruteForceOverAllThresholds) {
  std::mt19937_64 rng(5);
  std::normal_distribution<double> normal;
  for (int trial = 0; trial < 40; ++trial) {
    std::vector<double> members, others;
    for (int i = 0; i < 60; ++i) members.push_back(std::round(3 * normal(rng) + 2));
    for (int i = 0; i < 80; ++i) others.push_back(std::round(3 * normal(rng)));
    for (const double wanted : {0.0, 0.05, 0.1, 0.5, 1.0}) {
      std::size_t best = 0;
      for (const double t : members) {
        const auto reach = [t](double s) { return s >= t; };
        if (static_cast<double>(std::ranges::count_if(others, reach)) <= wanted * 80 + 1e-9)
          best = std::max(best, static_cast<std::size_t>(std::ranges::count_if(members, reach)));
      }
      const auto at = detection_point(members, others, wanted);
      EXPECT_EQ(at.members_found, best) << wanted;
      EXPECT_LE(at.fpr.estimate, wanted);
    }
  }
}

TEST(DetectionPoint, TiesAreBrokenAgainstTheAttacker) {
  const std::vector<double> members = {5, 5, 5, 5}, others = {5, 5, 1, 0};
  const auto at = detection_point(members, others, .25);  // one false alarm allowed, the tie would be two
  EXPECT_EQ(at.members_found, 0u);
  EXPECT_EQ(at.false_alarms, 0u);
  EXPECT_EQ(at.threshold, std::numeric_limits<double>::infinity());
}

TEST(DetectionPoint, RefusesWhatTheSampleCannotResolve) {
  const std::vector<double> members = {3, 2}, others = ladder(500);
  EXPECT_EQ(detection_point(members, others, .001).refused,
            "a false positive rate of 0.001 needs at least 1000 non-members, got 500");
  EXPECT_TRUE(detection_point(members, ladder(1000), .001).refused.empty());
  EXPECT_TRUE(detection_point(members, ladder(100), .29).refused.empty());
  // 0.29 * 100 is 28.999999999999996 and means 29.
  EXPECT_EQ(detection_point(members, ladder(100), .29).false_alarms, 29u);
}

TEST(DetectionPoint, BadInputIsNamed) {
  const std::vector<double> some = {1, 2}, none, nan = {1, std::nan("")};
  EXPECT_MESSAGE(detection_point(none, some, .01), "positive scores");
  EXPECT_MESSAGE(detection_point(some, nan, .01), "negative scores must not hold NaN, got one at index 1");
  EXPECT_MESSAGE(detection_point(some, some, 1.5), "must lie in [0, 1], got 1.5");
  EXPECT_MESSAGE(detection_point(some, some, std::nan("")), "must lie in [0, 1]");
}

}  // namespace
}  // namespace offramp::stats
