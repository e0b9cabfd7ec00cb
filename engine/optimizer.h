#pragma once
// SGD with momentum and Adam over the flat buffers of a ParameterSet. Scalars that change (learning rate,
// step) live in device memory (StepScalars), so that a step can be captured.
#include <memory>
#include <string>
#include <vector>

#include "engine/parameters.h"
#include "kernels/optimizer.h"

namespace offramp {

// The StepState of a training run in device memory, with its host copy.
class StepScalars {
 public:
  explicit StepScalars(const Device& device);
  // Learning rate, step number (0-based) and valid batch count of the next step, in stream order. With a step
  // in flight whose flag nobody has read the flag is kept, so that the next step changes nothing either.
  void set(float learning_rate, int step, int valid, NonfiniteFlag flag = NonfiniteFlag::kClear);
  bool nonfinite() const;  // reads the flag back: waits for the step
  StepState* device_pointer();
  const StepState* device_pointer() const;
  const Tensor& memory() const { return memory_; }  // the StepState as bytes, for a Readback

 private:
  Tensor memory_;
};

enum class ParameterRange { kAll, kExits };

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Updates the parameters of the range from their gradients, with the scalars of `state`.
  virtual void step(const StepScalars& state) = 0;
  // Moments in the layout of ParameterSet::values(): what a checkpoint keeps. Names: "velocity", or "adam_m",
  // "adam_v".
  struct Moment {
    std::string name;
    Tensor values;
  };
  std::vector<Moment>& moments() { return moments_; }

 protected:
  Optimizer(ParameterSet& parameters, ParameterRange range, std::vector<std::string> moment_names);
  ParameterSet& parameters_;
  std::int64_t begin_, count_;  // floats
  std::vector<Moment> moments_;
};

std::unique_ptr<Optimizer> make_sgd(ParameterSet&, const SgdParams&, ParameterRange = ParameterRange::kAll);
std::unique_ptr<Optimizer> make_adam(ParameterSet&, const AdamParams&, ParameterRange = ParameterRange::kAll);

}  // namespace offramp
