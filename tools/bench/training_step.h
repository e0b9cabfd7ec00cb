#pragma once
// How long a training step takes: forward through every exit, joint loss, backward, SGD, on random images or on those of a
// data set.
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/device.h"
#include "nets/graph/options.h"
#include "nets/training/batch_source.h"

namespace offramp::bench {

struct StepOptions {
  nets::NetOptions net;
  int batch = 128;
  int steps = 20;        // measured
  int warm_up = 3;       // not measured: primitives are made, memory is touched
  bool capture = false;  // one graph launch a step (CUDA); recorded by the second warm-up step
  std::uint64_t seed = 1;
  nets::BatchSource* data = nullptr;  // each step takes the next batch of it; none: the same random images
};

// Steps one at a time.
class TrainingStep {
 public:
  TrainingStep(const StepOptions& options, const Device& device);
  ~TrainingStep();
  void run();                      // puts a step onto the device
  float loss() const;              // of the last step; waits
  std::size_t operations() const;  // of the recorded step; 0 where none is
  double gflop() const;            // of a step: 2 * MACs * 3 (forward, input gradients, weight gradients)
  double fetch_seconds() const;    // of all steps: until their batches were on the device

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct StepResult {
  std::vector<double> step_ms;  // each measured step
  double median_ms = 0;
  double images_per_s = 0;      // of the median
  double arena_peak_mb = 0;     // most memory in use by tensors at once (CPU)
  double resident_peak_mb = 0;  // of the process
  double gflop = 0;             // of a step
  float first_loss = 0, last_loss = 0;
};

// `before_step(step)`, where given, is called before each step, the first warm-up step being 0.
StepResult measure_training_step(const StepOptions& options,
                                 const Device& device,
                                 const std::function<void(int step)>& before_step = {});

}  // namespace offramp::bench
