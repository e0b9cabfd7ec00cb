#pragma once
// Learning rates over a run (specs: training 2, 7). Epochs count from 1, as the papers print them.
#include <string>
#include <vector>

namespace offramp {

// lr * gamma^(number of milestones reached). `step_at_start` is the timing of the reference SDN code, whose
// scheduler moves at the start of an epoch: milestone 35 lowers the rate from epoch 35 on; otherwise from
// epoch 36 on. Rounded to 8 decimals, as there, but not to nothing.
struct MultiStepSchedule {
  double learning_rate = 0.1;
  std::vector<int> milestones = {35, 60, 85};
  double gamma = 0.1;
  bool step_at_start = true;

  double at_epoch(int epoch) const;
  // The same schedule for a run of `epochs` instead of `reference_epochs`: milestones scaled and rounded, at
  // least 1.
  MultiStepSchedule scaled(int epochs, int reference_epochs) const;
};

// lr / 2 * (1 + cos(pi * iteration / total)): the optional schedule of MSDNet. Iterations count from 0.
struct CosineSchedule {
  double learning_rate = 0.1;
  double at_iteration(long iteration, long total) const;
};

}  // namespace offramp
