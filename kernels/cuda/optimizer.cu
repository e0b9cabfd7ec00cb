// Optimiser steps over a flat buffer: SGD reads 3 and writes 2 floats a parameter, Adam 4 and 3. One launch
// for all parameters of a network.
#include "kernels/optimizer.h"

#include <cmath>

#include "kernels/cuda/elements.h"

namespace offramp::cuda {
namespace {

struct Sgd {
  SgdParams p;
  const StepState* state;
  const float* grad;
  float* velocity;
  float* param;

  template <int N>
  __device__ void run(std::int64_t i) const {
    if (state->nonfinite != 0) return;
    const float rate = state->learning_rate;
    float g[N], v[N], w[N];
    load(grad + i, g);
    load(velocity + i, v);
    load(param + i, w);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float decayed = g[j] + p.weight_decay * w[j];
      v[j] = p.momentum * v[j] + decayed;
      w[j] = w[j] - rate * (p.nesterov ? decayed + p.momentum * v[j] : v[j]);
    }
    store(velocity + i, v, false);
    store(param + i, w, false);
  }
};

struct Adam {
  AdamParams p;
  double log_beta1, log_beta2;
  const StepState* state;
  const float* grad;
  float* m;
  float* v;
  float* param;

  template <int N>
  __device__ void run(std::int64_t i) const {
    if (state->nonfinite != 0) return;
    // 1 - beta^t without cancellation.
    const double t = state->step + 1;
    const auto correction1 = static_cast<float>(-expm1(t * log_beta1));
    const auto correction2 = static_cast<float>(-expm1(t * log_beta2));
    const float rate = state->learning_rate;
    float g[N], first[N], second[N], w[N];
    load(grad + i, g);
    load(m + i, first);
    load(v + i, second);
    load(param + i, w);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float decayed = g[j] + p.weight_decay * w[j];
      first[j] = p.beta1 * first[j] + (1.f - p.beta1) * decayed;
      second[j] = p.beta2 * second[j] + (1.f - p.beta2) * (decayed * decayed);
      w[j] = w[j] - rate * (first[j] / correction1) / (sqrtf(second[j] / correction2) + p.eps);
    }
    store(m + i, first, false);
    store(v + i, second, false);
    store(param + i, w, false);
  }
};

__global__ void set_step_state_kernel(StepState* state, StepState next, bool keep_flag) {
  follow();
  if (keep_flag) next.nonfinite = state->nonfinite;
  *state = next;
}

}  // namespace

void set_step_state(
    Context& ctx, StepState* state, float learning_rate, int step, int valid, NonfiniteFlag flag) {
  const StepState next{.learning_rate = learning_rate, .step = step, .nonfinite = 0, .valid = valid};
  launch(set_step_state_kernel, 1, 1, 0, ctx.stream(), state, next, flag == NonfiniteFlag::kKeep);
}

void sgd_step(Context& ctx,
              std::int64_t n,
              const SgdParams& params,
              const StepState* state,
              const float* grad,
              float* velocity,
              float* param) {
  ctx.written(param, static_cast<std::size_t>(n) * sizeof(float));
  run_elements<4>(ctx,
                  n,
                  aligned(grad) && aligned(velocity) && aligned(param),
                  Sgd{params, state, grad, velocity, param});
}

void adam_step(Context& ctx,
               std::int64_t n,
               const AdamParams& params,
               const StepState* state,
               const float* grad,
               float* m,
               float* v,
               float* param) {
  ctx.written(param, static_cast<std::size_t>(n) * sizeof(float));
  run_elements<4>(
      ctx,
      n,
      aligned(grad) && aligned(m) && aligned(v) && aligned(param),
      Adam{params, std::log(double{params.beta1}), std::log(double{params.beta2}), state, grad, m, v, param});
}

}  // namespace offramp::cuda
