#include "engine/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

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

std::vector<int> milestones(int epochs, MilestoneShare share) {
  return MultiStepSchedule{}.scaled(epochs, 100, share).milestones;
}

TEST(MultiStepSchedule, ScalesItsMilestones) {
  EXPECT_EQ(milestones(30, MilestoneShare::kEpochsBefore), (std::vector<int>{11, 19, 26}));
  EXPECT_EQ(milestones(30, MilestoneShare::kNumber), (std::vector<int>{11, 18, 26}));
  EXPECT_EQ(milestones(8, MilestoneShare::kNumber), (std::vector<int>{3, 5, 7}));
  EXPECT_EQ(milestones(12, MilestoneShare::kNumber), (std::vector<int>{4, 7, 10}));
  EXPECT_EQ(milestones(24, MilestoneShare::kNumber), (std::vector<int>{8, 14, 20}));
  for (const auto share : {MilestoneShare::kEpochsBefore, MilestoneShare::kNumber})
    EXPECT_EQ(milestones(100, share), MultiStepSchedule{}.milestones);
}

// The numbers themselves, scaled and rounded: what a run of five epochs or more has always had.
TEST(MultiStepSchedule, AMilestoneKeepsItsNumberWhereTheFirstEpochAllowsIt) {
  for (int epochs = 5; epochs <= 300; ++epochs) {
    std::vector<int> expected;
    for (const int m : {35, 60, 85}) expected.push_back(static_cast<int>(std::lround(m * epochs / 100.0)));
    EXPECT_EQ(milestones(epochs, MilestoneShare::kNumber), expected) << epochs;
  }
}

TEST(MultiStepSchedule, TheFirstEpochHasTheFullRateHoweverShortTheRun) {
  for (const auto share : {MilestoneShare::kEpochsBefore, MilestoneShare::kNumber}) {
    for (const bool at_start : {true, false}) {
      for (const int epochs : {1, 2, 3, 4, 5, 100}) {
        MultiStepSchedule s;
        s.step_at_start = at_start;
        EXPECT_EQ(s.scaled(epochs, 100, share).at_epoch(1), 0.1) << epochs;
      }
    }
  }
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
