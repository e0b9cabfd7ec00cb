// Confidences of a substitute and exits of a victim for the threshold search. `draw_network` is the generator
// of the measured prototypes (docs/results/stats.md): kind 0: the first correct exit, kind 2: a noisy
// difficulty, kind 1: everything uniform. `draw_small` makes instances for full enumeration, with or without
// heavy ties.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "stats/search/threshold_search.h"

namespace offramp::test {

struct ThresholdData {
  std::vector<double> confidences, weights;
  std::vector<int> exits;
  std::size_t num_exits = 0;
  stats::SearchSamples samples() const { return {confidences, exits, num_exits, weights}; }
};

inline ThresholdData draw_network(std::size_t n, std::size_t num_exits, int kind, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  ThresholdData data;
  data.num_exits = num_exits;
  const double last = static_cast<double>(num_exits - 1);
  for (std::size_t i = 0; i < n; ++i) {
    const double d = 1.6 * normal(rng) + 0.3, shared = 0.7 * normal(rng);
    int first_correct = static_cast<int>(num_exits);
    for (std::size_t k = 0; k < num_exits; ++k) {
      const double margin =
          2.2 + 3.3 * static_cast<double>(k) / last - 1.4 * d + 0.8 * shared + 0.9 * normal(rng);
      const bool correct = uniform(rng) < 1 / (1 + 9 * std::exp(-margin));
      if (correct && first_correct == static_cast<int>(num_exits)) {
        first_correct = static_cast<int>(k) + 1;
      }
      data.confidences.push_back(kind == 1 ? uniform(rng) : 0.1 + 0.9 / (1 + 9 * std::exp(-1.35 * margin)));
    }
    const double level = std::floor(static_cast<double>(num_exits) * (d + 2.5) / 5 + 0.6 * normal(rng));
    data.exits.push_back(kind == 0   ? first_correct
                         : kind == 1 ? 1 + static_cast<int>(rng() % num_exits)
                                     : 1 + static_cast<int>(std::clamp(level, 0.0, last)));
  }
  return data;
}

// Confidences on `levels` values (few levels: heavy ties), exits uniform or following the confidences.
inline ThresholdData draw_small(std::size_t n, std::size_t num_exits, int levels, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::uniform_real_distribution<double> uniform;
  ThresholdData data;
  data.num_exits = num_exits;
  for (std::size_t i = 0; i < n; ++i) {
    int exit = static_cast<int>(num_exits);
    for (std::size_t k = 0; k < num_exits; ++k) {
      const double c = std::floor(uniform(rng) * levels) / levels;
      data.confidences.push_back(c);
      if (c > 0.6 && exit == static_cast<int>(num_exits)) {
        exit = static_cast<int>(k) + 1;
      }
    }
    data.exits.push_back(rng() % 3 == 0 ? exit : 1 + static_cast<int>(rng() % num_exits));
  }
  return data;
}

}  // namespace offramp::test
