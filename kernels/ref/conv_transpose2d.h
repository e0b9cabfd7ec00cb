#pragma once
// Transposed convolution and its gradients from the formula, in double, without the convolution's code: every input pixel
// adds its filter to the output. Layouts as in kernels/conv_transpose2d.h.
#include <cstdint>

#include "kernels/conv_transpose2d.h"

namespace offramp::ref {

// visit(y_index, x_index, w_index) for every product of the sum.
template <class Visit>
void conv_transpose2d_each_product(const ConvTranspose2dGeom& g, Visit visit) {
  const int group_c = g.c / g.groups;
  for (std::int64_t x = 0; x < g.x_size(); ++x) {
    const int c = static_cast<int>(x % g.c), j = static_cast<int>(x / g.c % g.w),
              i = static_cast<int>(x / g.c / g.w % g.h), n = static_cast<int>(x / g.c / g.w / g.h);
    const int first_k = c / group_c * g.group_k();
    for (int r = 0; r < g.r; ++r) {
      for (int s = 0; s < g.s; ++s) {
        const int row = i * g.stride - g.pad + r, column = j * g.stride - g.pad + s;
        if (row < 0 || row >= g.out_h() || column < 0 || column >= g.out_w()) continue;
        for (int k = 0; k < g.group_k(); ++k) {
          visit(((std::int64_t{n} * g.out_h() + row) * g.out_w() + column) * g.k + first_k + k,
                x,
                ((std::int64_t{c} * g.r + r) * g.s + s) * g.group_k() + k);
        }
      }
    }
  }
}

inline void conv_transpose2d_forward(
    const ConvTranspose2dGeom& g, const double* x, const double* w, const double* bias, double* y) {
  for (std::int64_t i = 0; i < g.y_size(); ++i) y[i] = bias ? bias[i % g.k] : 0;
  conv_transpose2d_each_product(
      g, [&](std::int64_t yi, std::int64_t xi, std::int64_t wi) { y[yi] += x[xi] * w[wi]; });
}

// The gradients add to what is there.
inline void conv_transpose2d_backward_input(const ConvTranspose2dGeom& g,
                                            const double* dy,
                                            const double* w,
                                            double* dx) {
  conv_transpose2d_each_product(
      g, [&](std::int64_t yi, std::int64_t xi, std::int64_t wi) { dx[xi] += dy[yi] * w[wi]; });
}
inline void conv_transpose2d_backward_weight(const ConvTranspose2dGeom& g,
                                             const double* x,
                                             const double* dy,
                                             double* dw) {
  conv_transpose2d_each_product(
      g, [&](std::int64_t yi, std::int64_t xi, std::int64_t wi) { dw[wi] += dy[yi] * x[xi]; });
}
inline void conv_transpose2d_backward_bias(const ConvTranspose2dGeom& g, const double* dy, double* db) {
  for (std::int64_t i = 0; i < g.y_size(); ++i) db[i % g.k] += dy[i];
}

}  // namespace offramp::ref
