// The owner's choice of thresholds (specs/training.md 4): from confidences and correctness of every exit on
// held-out data to thresholds and their accuracy and mean cost.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "stats/search/exit_rule.h"

namespace offramp::stats {

struct ExitOutcomes {
  std::span<const double> confidences;  // [n, num_exits]
  std::span<const int> correct;         // [n, num_exits], 1 where that exit's class is right, else 0
  std::span<const double> costs;        // [num_exits] of leaving there, ascending
  ExitRule rule = ExitRule::kAtLeast;
  Fallback fallback = Fallback::kLast;
};

struct OperatingPoint {
  std::vector<double> thresholds;  // [num_exits - 1]
  double accuracy = 0;             // share
  double mean_cost = 0;
  std::vector<std::size_t> exit_counts;  // [num_exits]; nobody left counts at the last
};

// Exactly one of the two. min_accuracy: the cheapest point that reaches it. max_mean_cost: the most accurate
// point that stays within it (of equals the cheaper).
struct ChoiceGoal {
  std::optional<double> min_accuracy = {};
  std::optional<double> max_mean_cost = {};
};

// ValueError for all: sizes that do not fit, non-finite confidences, correct other than 0 and 1, costs not
// ascending, fewer than 2 exits, no sample.
OperatingPoint evaluate_thresholds(const ExitOutcomes& outcomes, std::span<const double> thresholds);

// One tau for all exits, exact over all taus: sort of the running maxima, O(n K log(n K)). Empty if no tau
// meets the goal.
std::optional<OperatingPoint> choose_one_threshold(const ExitOutcomes& outcomes, const ChoiceGoal& goal);

// One tau per exit: from the single tau, exit by exit, each exactly given the others, until nothing improves.
// Never worse than the single tau; a local optimum.
std::optional<OperatingPoint> choose_thresholds(const ExitOutcomes& outcomes, const ChoiceGoal& goal);

// One tau from a grid: each tau's point, in the grid's order.
std::vector<OperatingPoint> sweep_thresholds(const ExitOutcomes& outcomes, std::span<const double> taus);
// The grids of the reference codes.
std::vector<double> sdn_taus();        // .1 .15 .25 .5 .6 .7 .8 .9 .95 .99 .999
std::vector<double> ccs_taus();        // 0, .05, .., 1
std::vector<double> deepsloth_taus();  // .05, .., .95
// The cheapest of sweep_thresholds(deepsloth_taus()) with accuracy > (1 - drop) * accuracy of the last exit.
std::optional<OperatingPoint> choose_deepsloth(const ExitOutcomes& outcomes, double relative_drop);

// MSDNet's budgeted rule on validation confidences [n, num_exits]: q_k proportional to p^k; T_k is the
// confidence of the floor(n q_k)-th of the samples that have not left, descending; 1e8 if there are fewer;
// samples with confidence >= T_k leave. Returns num_exits - 1 thresholds for ExitRule::kAtLeast (T_K =
// -1e8 is implied).
std::vector<double> msdnet_thresholds(std::span<const double> confidences, std::size_t num_exits, double p);
// p = j/20, j = 1..39.
std::vector<double> msdnet_budgets();

}  // namespace offramp::stats
