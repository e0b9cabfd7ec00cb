#pragma once
// y = x W^T + b and its gradients from the formula, in double. Layouts as in kernels/linear.h; gradients add
// to what is there.
#include <cstdint>

#include "kernels/linear.h"

namespace offramp::ref {

inline void linear_forward(
    const LinearGeom& g, const double* x, const double* w, const double* bias, double* y) {
  for (std::int64_t row = 0; row < g.rows; ++row) {
    for (std::int64_t o = 0; o < g.out; ++o) {
      double sum = bias ? bias[o] : 0;
      for (std::int64_t i = 0; i < g.in; ++i) sum += x[row * g.in + i] * w[o * g.in + i];
      y[row * g.out + o] = sum;
    }
  }
}

inline void linear_backward_input(const LinearGeom& g, const double* dy, const double* w, double* dx) {
  for (std::int64_t row = 0; row < g.rows; ++row) {
    for (std::int64_t i = 0; i < g.in; ++i) {
      for (std::int64_t o = 0; o < g.out; ++o) dx[row * g.in + i] += dy[row * g.out + o] * w[o * g.in + i];
    }
  }
}

inline void linear_backward_weight(const LinearGeom& g, const double* x, const double* dy, double* dw) {
  for (std::int64_t o = 0; o < g.out; ++o) {
    for (std::int64_t i = 0; i < g.in; ++i) {
      for (std::int64_t row = 0; row < g.rows; ++row)
        dw[o * g.in + i] += dy[row * g.out + o] * x[row * g.in + i];
    }
  }
}

inline void linear_backward_bias(const LinearGeom& g, const double* dy, double* db) {
  for (std::int64_t row = 0; row < g.rows; ++row) {
    for (std::int64_t o = 0; o < g.out; ++o) db[o] += dy[row * g.out + o];
  }
}

}  // namespace offramp::ref
