// Parameter updates: one pass over the flat buffers, 16 values at a time (SGD reads and writes 20 bytes a
// parameter, Adam 28).
#include "kernels/optimizer.h"

#include <cmath>

#include "kernels/cpu/loops.h"

namespace offramp::cpu {

void set_step_state(
    Context&, StepState* state, float learning_rate, int step, int valid, NonfiniteFlag flag) {
  *state = {.learning_rate = learning_rate,
            .step = step,
            .nonfinite = flag == NonfiniteFlag::kKeep ? state->nonfinite : 0,
            .valid = valid};
}

void sgd_step(Context& ctx,
              std::int64_t n,
              const SgdParams& params,
              const StepState* state,
              const float* grad,
              float* velocity,
              float* param) {
  if (state->nonfinite != 0) return;
  const float rate = state->learning_rate;
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) {
    const f32x16 momentum = splat(params.momentum), p = load(param + i, lanes);
    const f32x16 g = fma(splat(params.weight_decay), p, load(grad + i, lanes));
    const f32x16 v = fma(momentum, load(velocity + i, lanes), g);
    const f32x16 step = params.nesterov ? fma(momentum, v, g) : v;
    store(velocity + i, v, lanes);
    store(param + i, fma(splat(-rate), step, p), lanes);
  });
}

void adam_step(Context& ctx,
               std::int64_t n,
               const AdamParams& params,
               const StepState* state,
               const float* grad,
               float* m,
               float* v,
               float* param) {
  if (state->nonfinite != 0) return;
  const float rate = state->learning_rate, beta1 = params.beta1, beta2 = params.beta2;
  const double t = state->step + 1;
  const auto unbias1 = static_cast<float>(1 / (1 - std::pow(static_cast<double>(beta1), t)));
  const auto unbias2 = static_cast<float>(1 / (1 - std::pow(static_cast<double>(beta2), t)));
  parallel_vectors(ctx, n, [=](std::int64_t i, auto lanes) {
    const f32x16 p = load(param + i, lanes), g = fma(splat(params.weight_decay), p, load(grad + i, lanes));
    const f32x16 first = fma(splat(beta1), load(m + i, lanes), splat(1 - beta1) * g);
    const f32x16 second = fma(splat(beta2), load(v + i, lanes), splat(1 - beta2) * (g * g));
    store(m + i, first, lanes);
    store(v + i, second, lanes);
    const f32x16 size = sqrt(second * splat(unbias2)) + splat(params.eps);
    store(param + i, fma(splat(-rate), first * splat(unbias1) / size, p), lanes);
  });
}

}  // namespace offramp::cpu
