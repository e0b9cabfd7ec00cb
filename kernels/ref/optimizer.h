#pragma once
// References of kernels/optimizer.h.
#include <cmath>

#include "kernels/optimizer.h"

namespace offramp::ref {

template <class Real>
void sgd_step(
    std::int64_t n, const SgdParams& p, Real learning_rate, const Real* grad, Real* velocity, Real* param) {
  const Real momentum = p.momentum, decay = p.weight_decay;
  for (std::int64_t i = 0; i < n; ++i) {
    const Real g = grad[i] + decay * param[i];
    velocity[i] = momentum * velocity[i] + g;
    param[i] -= learning_rate * (p.nesterov ? g + momentum * velocity[i] : velocity[i]);
  }
}

// t counts from 1.
template <class Real>
void adam_step(std::int64_t n,
               const AdamParams& p,
               Real learning_rate,
               int t,
               const Real* grad,
               Real* m,
               Real* v,
               Real* param) {
  const Real beta1 = p.beta1, beta2 = p.beta2, eps = p.eps, decay = p.weight_decay;
  for (std::int64_t i = 0; i < n; ++i) {
    const Real g = grad[i] + decay * param[i];
    m[i] = beta1 * m[i] + (1 - beta1) * g;
    v[i] = beta2 * v[i] + (1 - beta2) * g * g;
    const Real mhat = m[i] / (1 - std::pow(beta1, t)), vhat = v[i] / (1 - std::pow(beta2, t));
    param[i] -= learning_rate * mhat / (std::sqrt(vhat) + eps);
  }
}

}  // namespace offramp::ref
