#pragma once
// Learning rates over a run (specs: training 2, 7). Epochs count from 1, as the papers print them.
#include <cstdint>
#include <vector>

namespace offramp {

// A run of another length has scaled milestones. What keeps its share of the run is either the epochs before a
// milestone (34 of 100: training) or its number (35 of 100: copies of a victim); the two are at most one epoch
// apart. Either way the first epoch has the full rate.
enum class MilestoneShare { kEpochsBefore, kNumber };

// lr * gamma^(number of milestones reached). `step_at_start` is the timing of the reference SDN code, whose
// scheduler moves at the start of an epoch: milestone 35 lowers the rate from epoch 35 on; otherwise from
// epoch 36 on. Rounded to 8 decimals, as there, but not to nothing.
struct MultiStepSchedule {
  double learning_rate = 0.1;
  std::vector<int> milestones = {35, 60, 85};
  double gamma = 0.1;
  bool step_at_start = true;

  double at_epoch(int epoch) const;
  // The same schedule for a run of `epochs` instead of `reference_epochs`.
  MultiStepSchedule scaled(int epochs, int reference_epochs, MilestoneShare share) const;
};

// lr / 2 * (1 + cos(pi * iteration / total)): MSDNet's. Iterations count from 0.
struct CosineSchedule {
  double learning_rate = 0.1;
  double at_iteration(std::int64_t iteration, std::int64_t total) const;
};

}  // namespace offramp
