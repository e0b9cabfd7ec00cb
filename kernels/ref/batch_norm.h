#pragma once
// References of kernels/batch_norm.h, with the gradients as Ioffe and Szegedy (2015) write them: through the
// normalised value, the variance and the mean, one after the other.
#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/ref/store.h"

namespace offramp::ref {

// mean[channels] and the biased variance[channels] of x[rows, channels].
template <class Real>
void batch_statistics(const BatchNormGeom& g, const Real* x, Real* mean, Real* var) {
  const auto rows = static_cast<Real>(g.rows);
  for (int c = 0; c < g.channels; ++c) {
    Real sum = 0, squares = 0;
    for (std::int64_t r = 0; r < g.rows; ++r) sum += x[r * g.channels + c];
    mean[c] = sum / rows;
    for (std::int64_t r = 0; r < g.rows; ++r) {
      const Real centred = x[r * g.channels + c] - mean[c];
      squares += centred * centred;
    }
    var[c] = squares / rows;
  }
}

// y = act(gamma (x - mean) / sqrt(var + eps) + beta + residual); residual may be null.
template <class Real>
void batch_norm_apply(const BatchNormGeom& g,
                      const Real* x,
                      const Real* gamma,
                      const Real* beta,
                      const Real* mean,
                      const Real* var,
                      const Real* residual,
                      Real* y) {
  for (std::int64_t i = 0; i < g.rows * g.channels; ++i) {
    const auto c = static_cast<int>(i % g.channels);
    Real z = gamma[c] * (x[i] - mean[c]) / std::sqrt(var[c] + static_cast<Real>(g.eps)) + beta[c];
    if (residual != nullptr) z += residual[i];
    y[i] = g.relu && z <= 0 ? Real{0} : z;
  }
}

// Running averages move by `momentum`; the variance that enters them is the unbiased one.
template <class Real>
void move_running_statistics(const BatchNormGeom& g,
                             Real momentum,
                             const Real* mean,
                             const Real* var,
                             Real* running_mean,
                             Real* running_var) {
  const auto rows = static_cast<Real>(g.rows);
  const Real unbias = g.rows > 1 ? rows / (rows - 1) : Real{1};
  for (int c = 0; c < g.channels; ++c) {
    running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[c];
    running_var[c] = (1 - momentum) * running_var[c] + momentum * var[c] * unbias;
  }
}

// Gradients; y (the output) gives the mask of the ReLU. Each of dx, dresidual, dgamma, dbeta may be null.
template <class Real>
void batch_norm_backward(const BatchNormGeom& g,
                         bool batch_statistics,
                         const Real* dy,
                         const Real* x,
                         const Real* y,
                         const Real* gamma,
                         const Real* mean,
                         const Real* inv_std,
                         Real* dx,
                         Write dx_write,
                         Real* dresidual,
                         Write dresidual_write,
                         Real* dgamma,
                         Real* dbeta,
                         Write dparam_write) {
  const auto rows = static_cast<Real>(g.rows);
  for (int c = 0; c < g.channels; ++c) {
    const auto at = [&](std::int64_t r) { return r * g.channels + c; };
    const auto dz = [&](std::int64_t r) { return g.relu && !(y[at(r)] > 0) ? Real{0} : dy[at(r)]; };
    Real sum_dz = 0, sum_dz_xhat = 0, dvar = 0, dmean = 0, sum_centred = 0;
    for (std::int64_t r = 0; r < g.rows; ++r) {
      const Real centred = x[at(r)] - mean[c], dxhat = dz(r) * gamma[c];
      sum_dz += dz(r);
      sum_dz_xhat += dz(r) * centred * inv_std[c];
      sum_centred += centred;
      dvar += dxhat * centred * Real(-0.5) * inv_std[c] * inv_std[c] * inv_std[c];
      dmean -= dxhat * inv_std[c];
    }
    dmean -= dvar * 2 * sum_centred / rows;
    for (std::int64_t r = 0; r < g.rows; ++r) {
      Real gradient = dz(r) * gamma[c] * inv_std[c];
      if (batch_statistics) gradient += dvar * 2 * (x[at(r)] - mean[c]) / rows + dmean / rows;
      if (dx != nullptr) store(dx_write, dx + at(r), gradient);
      if (dresidual != nullptr) store(dresidual_write, dresidual + at(r), dz(r));
    }
    if (dgamma != nullptr) store(dparam_write, dgamma + c, sum_dz_xhat);
    if (dbeta != nullptr) store(dparam_write, dbeta + c, sum_dz);
  }
}

}  // namespace offramp::ref
