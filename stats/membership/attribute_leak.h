// What the exit of an answer, or anything else with few values, says about an attribute of its input: not who was trained on,
// but what was asked (specs/audit.md 2; Timing Channels in Adaptive Neural Networks, NDSS 2024).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "stats/intervals.h"
#include "stats/mutual_information.h"

namespace offramp::stats {

struct AttributeLeakOptions {
  std::size_t permutations = 1000;
  std::size_t folds = 5;         // of the cross-validated guess
  std::size_t resamples = 1000;  // of the bootstrap over samples
  std::uint64_t seed = 1;
  unsigned threads = 0;
};

struct AttributeValueLeak {
  std::size_t value = 0, samples = 0;
  double recall = 0;  // share of its samples that the guess gets right
  // Of "is it this value" with the observation, corrected.
  double information_bits = 0;
};

struct AttributeLeak {
  std::size_t samples = 0;
  MutualInformation information;  // bits; of_labels is the attribute's entropy
  Interval corrected;             // of information.corrected
  double p_value = 1;    // permutations that reach the observed information, (hits + 1) / (rounds + 1)
  double commonest = 0;  // share of the commonest value: what guessing without a look gets right
  // Of the best guess of the attribute from the observation, on samples it was not learnt on. The intervals are for these guesses
  // and this commonest value: that other samples would have taught others is not in them.
  Interval accuracy;
  Interval gain;                           // accuracy / commonest
  std::vector<AttributeValueLeak> values;  // ascending
};

// observed and attribute: [n] values of any kind. The interval of the information is the basic bootstrap's: corrected
// estimates of resamples, reflected about what the sample itself has, uncorrected. DataError:
// lengths differ, fewer samples than folds; ValueError: fewer than two folds, no permutation or resample.
AttributeLeak attribute_leak(std::span<const std::size_t> observed,
                             std::span<const std::size_t> attribute,
                             const AttributeLeakOptions& options = {});

}  // namespace offramp::stats
