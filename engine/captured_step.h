#pragma once
// A step of device work that is recorded once and replayed: on a CUDA device one graph launch instead of
// hundreds of kernel launches, with the same bits.
//
//   CapturedStep step(device);
//   for (...) { upload the batch into tensors that stay; step.run([&] { ...the ops of a step... }); }
//
// The first call runs the program as it is: plans are made, scratch grows, and the step's own memory pool
// fills. The second records it. From then on the program is not called any more: the graph reads and writes
// the addresses that it was recorded with. So a program
//   - takes its inputs from tensors, and its scalars from a StepState, that outlive the step;
//   - leaves its results in tensors that the caller keeps, and drops those of the last call before it makes new
//     ones;
//   - allocates the same memory each time, and neither uploads, downloads nor waits (DeviceError while it is
//     recorded).
#include <cstddef>
#include <functional>
#include <memory>

#include "engine/device.h"

namespace offramp {

class CapturedStep {
 public:
  // Throws ValueError where the device cannot record its work (cpu).
  explicit CapturedStep(const Device& device);
  ~CapturedStep();
  CapturedStep(CapturedStep&&) noexcept;
  CapturedStep& operator=(CapturedStep&&) noexcept;

  // Makes one step. What the program or the recording throws leaves the step as before the call.
  void run(const std::function<void()>& program);
  bool recorded() const;
  std::size_t operations() const;  // of the recorded step: kernels, copies, fills; 0 before

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace offramp
