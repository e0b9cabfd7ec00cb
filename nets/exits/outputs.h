#pragma once
// What every exit of a net says about every sample of a data set.
#include <cstdint>
#include <functional>
#include <vector>

#include "nets/exits/segmented.h"
#include "nets/training/batch_source.h"

namespace offramp::nets {

struct ExitOutputs {
  int num_exits = 0, n = 0, classes = 0;
  std::vector<double> confidence;         // [n, num_exits]: the largest softmax probability, a float
  std::vector<std::int32_t> predicted;    // [n, num_exits]
  std::vector<std::int32_t> labels = {};  // [n]
  std::vector<float> probabilities = {};  // [n, num_exits, classes], or none (Keep::kConfidences)

  std::size_t at(int sample, int exit) const {
    return static_cast<std::size_t>(sample) * static_cast<std::size_t>(num_exits) +
           static_cast<std::size_t>(exit);
  }
  bool right(int sample, int exit) const {
    return predicted[at(sample, exit)] == labels[static_cast<std::size_t>(sample)];
  }
  // [classes] of one exit on one sample.
  const float* row(int sample, int exit) const {
    return probabilities.data() + at(sample, exit) * static_cast<std::size_t>(classes);
  }
};

enum class Keep { kProbabilities, kConfidences };

// Runs every exit on one epoch of the source: of a net as it trains (Network) or as it answers (FrozenNet).
// NumericError where an output is not finite.
// `progress(done, all)`, where given, is called after each batch and may throw to stop.
ExitOutputs exit_outputs(const SegmentedNet& net,
                         BatchSource& source,
                         const std::function<void(int done, int all)>& progress = {},
                         Keep keep = Keep::kProbabilities);

// Share of right answers of each exit, in [0,1].
std::vector<double> accuracy(const ExitOutputs& outputs);

}  // namespace offramp::nets
