#include "nets/exits/choose_policy.h"

#include "stats/search/threshold_choice.h"

namespace offramp::nets {

std::optional<PolicyChoice> choose_policy(const ExitOutputs& outputs,
                                          std::span<const double> costs,
                                          const PolicyGoal& goal) {
  std::vector<int> correct;
  for (int i = 0; i < outputs.n; ++i) {
    for (int e = 0; e < outputs.num_exits; ++e) correct.push_back(outputs.right(i, e) ? 1 : 0);
  }
  const stats::ExitOutcomes outcomes{.confidences = outputs.confidence,
                                     .correct = correct,
                                     .costs = costs,
                                     .rule = goal.rule,
                                     .fallback = goal.fallback};
  const double last = accuracy(outputs).back();
  stats::ChoiceGoal wanted{.max_mean_cost = goal.max_mean_cost};
  if (goal.max_drop) wanted.min_accuracy = last - *goal.max_drop;
  const std::optional<stats::OperatingPoint> point = goal.thresholds == Thresholds::kOne
                                                         ? stats::choose_one_threshold(outcomes, wanted)
                                                         : stats::choose_thresholds(outcomes, wanted);
  if (!point) return std::nullopt;
  return PolicyChoice{.policy = {point->thresholds, goal.rule, goal.fallback},
                      .accuracy = point->accuracy,
                      .last_exit_accuracy = last,
                      .mean_cost = point->mean_cost};
}

}  // namespace offramp::nets
