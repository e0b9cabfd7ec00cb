#pragma once
// What follows from every exit's outputs on a data set: loss, policies, overthinking, confusion (specs: training 4
// and 5). All but policies and overthinking need the probabilities.
#include <cstdint>
#include <span>
#include <vector>

#include "nets/exits/exit_policy.h"
#include "nets/exits/outputs.h"
#include "nets/graph/cost.h"

namespace offramp::nets {

// Mean cross entropy of each exit.
std::vector<double> mean_loss(const ExitOutputs& outputs);

struct PolicyResult {
  double accuracy = 0;
  std::vector<std::int64_t> histogram;  // [num_exits]: samples that stopped there
  double mean_macs = 0, mean_ops_profiler = 0;
  double relative_macs = 0;  // to the plain net
  double relative_ops_profiler = 0;
};
PolicyResult apply(const ExitPolicy& policy, const ExitOutputs& outputs, const NetCosts& costs);

struct Overthinking {
  std::vector<double> cumulative_accuracy;  // [num_exits]: right at this exit or an earlier one
  // A sample pays the relative cost of the first exit that is right; samples never right pay 1. Mean per
  // sample.
  double oracle_cost = 0;
  std::int64_t destructive = 0;                    // right at some internal classifier, wrong at the end
  std::vector<std::int64_t> destructive_per_exit;  // [num_exits - 1]: right at it, wrong at the end
  double destructive_share = 0;                    // of all final errors
  // Mean confidence of each internal classifier on those samples, and on all that it gets right; sums are
  // divided by count + 0.1, as the reference does.
  std::vector<double> confidence_destructive, confidence_right;
};
// relative_cost [num_exits]: of each exit, the last 1.
Overthinking overthinking(const ExitOutputs& outputs, std::span<const double> relative_cost);

// Confusion of each sample: sum over exits of the L1 distance between its output and the last exit's.
std::vector<double> confusion(const ExitOutputs& outputs);
struct ConfusionScale {
  double mean = 0, deviation = 1;  // population, of confusion over the training set
};
ConfusionScale confusion_scale(std::span<const double> confusion);
// (d - mean) / deviation, averaged over the samples that the last exit gets right and wrong.
struct ConfusionSummary {
  double right = 0, wrong = 0;
};
ConfusionSummary confusion_summary(const ExitOutputs& outputs, const ConfusionScale& scale);

}  // namespace offramp::nets
