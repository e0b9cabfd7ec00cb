#pragma once
// A binary table that small nets learn by heart, and nets of a membership audit that train in a second.
#include <algorithm>
#include <cstdint>

#include "attacks/membership/models.h"
#include "kernels/philox.h"

namespace offramp::test {

// n rows of `d` bits in three classes: each class prefers its own third of the columns, most bits are noise.
inline data::TableSet bits(int n, int d, std::uint64_t seed) {
  data::TableSet set;
  set.n = n;
  set.d = d;
  set.class_names = {"1", "2", "3"};
  set.family = "bits";
  const PhiloxKey draw{seed, 98};
  std::uint64_t at = 0;
  for (int i = 0; i < n; ++i) {
    const std::int32_t label = i % 3;
    set.labels.push_back(label);
    for (int j = 0; j < d; ++j)
      set.features.push_back(draw.uniform(at++) < (j % 3 == label ? .6f : .4f) ? 1.f : 0.f);
  }
  return set;
}

inline attacks::membership::ModelPlan small_plan() {
  attacks::membership::ModelPlan plan;
  plan.net.width_divisor = 16;
  plan.exits = {1, 3};
  plan.train.epochs = 25;
  plan.train.batch_size = 16;
  plan.train.optimizer = nets::OptimizerKind::kAdam;
  plan.train.learning_rate = 1e-3;
  plan.train.weight_decay = 1e-4;
  plan.seed = 4;
  return plan;
}

inline Device one_cpu() {
  static const Device device = Device::make_cpu({.threads = 1});
  return device;
}

}  // namespace offramp::test
