#pragma once
// How long a training step takes: forward through every exit, joint loss, backward, SGD, on random images.
#include <cstdint>
#include <vector>

#include "engine/device.h"
#include "nets/options.h"

namespace offramp::bench {

struct StepOptions {
  nets::NetOptions net;
  int batch = 128;
  int steps = 20;   // measured
  int warm_up = 3;  // not measured: primitives are made, memory is touched
  std::uint64_t seed = 1;
};

struct StepResult {
  std::vector<double> step_ms;  // each measured step
  double median_ms = 0;
  double images_per_s = 0;      // of the median
  double arena_peak_mb = 0;     // most memory in use by tensors at once (CPU)
  double resident_peak_mb = 0;  // of the process
  double gflop = 0;             // of a step: 2 * MACs * 3 (forward, input gradients, weight gradients)
  float first_loss = 0, last_loss = 0;
};

StepResult measure_training_step(const StepOptions& options, const Device& device);

}  // namespace offramp::bench
