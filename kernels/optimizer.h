#pragma once
// Parameter updates over flat buffers. Learning rate and step number are read from the StepState; where
// state->nonfinite is set nothing is changed. Weight decay is added to the gradient of every parameter (L2,
// coupled).
#include "kernels/backend.h"

namespace offramp {

// v <- momentum * v + g + decay * p;  p <- p - lr * v  (no dampening; nesterov: p <- p - lr * (g' + momentum
// * v)).
struct SgdParams {
  float momentum = 0.9f;
  float weight_decay = 0;
  bool nesterov = false;
};

// Kingma and Ba 2015 with bias correction; g' = g + decay * p; p <- p - lr * mhat / (sqrt(vhat) + eps).
struct AdamParams {
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float eps = 1e-8f;
  float weight_decay = 0;
};

// What becomes of the flag of a loss that was not finite.
enum class NonfiniteFlag { kClear, kKeep };

}  // namespace offramp

// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
// Writes the scalars of the next step, in stream order.
void set_step_state(Context&, StepState* state, float learning_rate, int step, int valid, NonfiniteFlag);
void sgd_step(Context&, std::int64_t n, const SgdParams&, const StepState* state,
              const float* grad, float* velocity, float* param);
void adam_step(Context&, std::int64_t n, const AdamParams&, const StepState* state,
               const float* grad, float* m, float* v, float* param);
)
// clang-format on
