#pragma once
// Convolution and its gradients from the formula, in double: what the fast kernels are compared with. Layouts
// as in kernels/conv2d.h. Every gradient loop visits the same (output, tap) pairs as the forward and applies
// the chain rule.
#include <cstdint>

#include "kernels/conv2d.h"

namespace offramp::ref {

// visit(y_index, x_index, w_index) for every product of the sum.
template <class Visit>
void conv2d_each_product(const Conv2dGeom& g, Visit visit) {
  for (int n = 0; n < g.n; ++n) {
    for (int i = 0; i < g.out_h(); ++i) {
      for (int j = 0; j < g.out_w(); ++j) {
        for (int k = 0; k < g.k; ++k) {
          const std::int64_t y = ((std::int64_t{n} * g.out_h() + i) * g.out_w() + j) * g.k + k;
          const int first_c = k / g.group_k() * g.group_c();
          for (int r = 0; r < g.r; ++r) {
            for (int s = 0; s < g.s; ++s) {
              const int row = i * g.stride - g.pad + r, column = j * g.stride - g.pad + s;
              if (row < 0 || row >= g.h || column < 0 || column >= g.w) continue;
              for (int c = 0; c < g.group_c(); ++c) {
                visit(y,
                      ((std::int64_t{n} * g.h + row) * g.w + column) * g.c + first_c + c,
                      ((std::int64_t{k} * g.r + r) * g.s + s) * g.group_c() + c);
              }
            }
          }
        }
      }
    }
  }
}

inline void conv2d_forward(
    const Conv2dGeom& g, const double* x, const double* w, const double* bias, double* y) {
  for (std::int64_t i = 0; i < g.y_size(); ++i) y[i] = bias ? bias[i % g.k] : 0;
  conv2d_each_product(g, [&](std::int64_t yi, std::int64_t xi, std::int64_t wi) { y[yi] += x[xi] * w[wi]; });
}

// The gradients add to what is there.
inline void conv2d_backward_input(const Conv2dGeom& g, const double* dy, const double* w, double* dx) {
  conv2d_each_product(g,
                      [&](std::int64_t yi, std::int64_t xi, std::int64_t wi) { dx[xi] += dy[yi] * w[wi]; });
}
inline void conv2d_backward_weight(const Conv2dGeom& g, const double* x, const double* dy, double* dw) {
  conv2d_each_product(g,
                      [&](std::int64_t yi, std::int64_t xi, std::int64_t wi) { dw[wi] += dy[yi] * x[xi]; });
}
inline void conv2d_backward_bias(const Conv2dGeom& g, const double* dy, double* db) {
  for (std::int64_t i = 0; i < g.y_size(); ++i) db[i % g.k] += dy[i];
}

}  // namespace offramp::ref
