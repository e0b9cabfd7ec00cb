#include "engine/schedule.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace offramp {
namespace {

TEST(MultiStepSchedule, FollowsTheReferenceTiming) {  // specs: training 2
  const MultiStepSchedule s;
  EXPECT_EQ(s.at_epoch(1), 0.1);
  EXPECT_EQ(s.at_epoch(34), 0.1);
  EXPECT_EQ(s.at_epoch(35), 0.01);
  EXPECT_EQ(s.at_epoch(59), 0.01);
  EXPECT_EQ(s.at_epoch(60), 0.001);
  EXPECT_EQ(s.at_epoch(84), 0.001);
  EXPECT_EQ(s.at_epoch(85), 0.0001);
  EXPECT_EQ(s.at_epoch(100), 0.0001);
}

TEST(MultiStepSchedule, SteppingAtTheEndDropsOneEpochLater) {
  MultiStepSchedule s;
  s.step_at_start = false;
  EXPECT_EQ(s.at_epoch(35), 0.1);
  EXPECT_EQ(s.at_epoch(36), 0.01);
  EXPECT_EQ(s.at_epoch(61), 0.001);
  EXPECT_EQ(s.at_epoch(86), 0.0001);
}

TEST(MultiStepSchedule, ScalesItsMilestones) {
  const MultiStepSchedule s = MultiStepSchedule{}.scaled(30, 100);
  EXPECT_EQ(s.milestones, (std::vector<int>{11, 18, 26}));
  EXPECT_EQ(MultiStepSchedule{}.scaled(1, 100).milestones, (std::vector<int>{1, 1, 1}));
}

TEST(MultiStepSchedule, IsNeverRoundedToNothing) {
  MultiStepSchedule s;
  s.learning_rate = 1e-6;
  EXPECT_EQ(s.at_epoch(35), 1e-7);
  EXPECT_NEAR(s.at_epoch(85), 1e-9, 1e-20);
}

TEST(MultiStepSchedule, RefusesEpochZero) { EXPECT_THROW(MultiStepSchedule{}.at_epoch(0), ValueError); }

TEST(CosineSchedule, StartsFullHalvesInTheMiddleEndsAtZero) {
  const CosineSchedule s;
  EXPECT_EQ(s.at_iteration(0, 100), 0.1);
  EXPECT_NEAR(s.at_iteration(50, 100), 0.05, 1e-17);
  EXPECT_NEAR(s.at_iteration(100, 100), 0.0, 1e-17);
}

}  // namespace
}  // namespace offramp
