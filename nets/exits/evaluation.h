#pragma once
// Every exit's output on a data set, and what follows from it: accuracy, policies, overthinking, confusion
// (specs: training 4 and 5).
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "nets/exits/exit_policy.h"
#include "nets/graph/network.h"
#include "nets/training/batch_source.h"

namespace offramp::nets {

// Softmax outputs of all exits for n samples.
struct ExitOutputs {
  int num_exits = 0, n = 0, classes = 0;
  std::vector<float> probabilities;     // [num_exits, n, classes]
  std::vector<float> confidence;        // [num_exits, n]: the largest of them
  std::vector<std::int32_t> predicted;  // [num_exits, n]
  std::vector<std::int32_t> labels;     // [n]

  std::size_t at(int exit, int sample) const {
    return static_cast<std::size_t>(exit) * static_cast<std::size_t>(n) + static_cast<std::size_t>(sample);
  }
  bool right(int exit, int sample) const {
    return predicted[at(exit, sample)] == labels[static_cast<std::size_t>(sample)];
  }
};

// Runs every exit on one epoch of the source. `progress(done, all)`, where given, is called after each batch
// and may throw to stop.
ExitOutputs exit_outputs(const Network& net,
                         BatchSource& source,
                         const std::function<void(int done, int all)>& progress = {});

// Share of right answers of each exit, in [0,1].
std::vector<double> accuracy(const ExitOutputs& outputs);
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
