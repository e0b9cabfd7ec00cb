#pragma once
// The owner's thresholds (specs: training 4) from what every exit says about held-out samples.
#include <optional>
#include <span>

#include "nets/exits/exit_policy.h"
#include "nets/exits/outputs.h"

namespace offramp::nets {

enum class Thresholds { kOne, kPerExit };

struct PolicyGoal {
  // Exactly one of the two: the cheapest policy whose accuracy is at most this share below the last exit's, or the
  // most accurate whose mean cost is at most this.
  std::optional<double> max_drop = {}, max_mean_cost = {};
  Thresholds thresholds = Thresholds::kOne;
  ExitRule rule = ExitRule::kAtLeast;
  Fallback fallback = Fallback::kLast;
};

struct PolicyChoice {
  ExitPolicy policy;
  double accuracy = 0, last_exit_accuracy = 0;
  double mean_cost = 0;  // in the unit of the costs
};

// costs [num_exits] of leaving at each exit, ascending, in any unit. Empty where no thresholds meet the goal. Throws
// ValueError where outputs, costs and goal do not fit (stats/search/threshold_choice.h).
std::optional<PolicyChoice> choose_policy(const ExitOutputs& outputs,
                                          std::span<const double> costs,
                                          const PolicyGoal& goal);

}  // namespace offramp::nets
