#pragma once
// Transposed 2-D convolution: the adjoint of a convolution (kernels/conv2d.h) as a forward, which makes maps larger. Every
// input pixel adds its filter to the output: with x [n,h,w,c] and w [c,r,s,k / groups],
//   y[n, i*stride - pad + r, j*stride - pad + s, k] = bias[k] + sum over i, j, r, s, c of x[n,i,j,c] * w[c,r,s,k],
// taps that fall outside y are dropped. Side: (h - 1) * stride - 2 * pad + r + output_pad. output_pad, less than the
// stride, adds rows below and columns at the right which fewer filters reach; it picks one of the sizes that the
// convolution would make h of. The weights are those of that convolution: stored [c, k / groups, r, s] in files, as
// PyTorch does.
//
// Computed by the convolution's own kernels: forward = its input gradient, input gradient = its forward, weight gradient
// = its weight gradient with the two activations in each other's place.
#include "kernels/conv2d.h"

namespace offramp {

struct ConvTranspose2dGeom {
  int n = 0, h = 0, w = 0, c = 0;  // input
  int k = 0, r = 0, s = 0;         // output channels, filter height and width
  int stride = 1, pad = 0, output_pad = 0, groups = 1;

  int out_h() const { return (h - 1) * stride - 2 * pad + r + output_pad; }
  int out_w() const { return (w - 1) * stride - 2 * pad + s + output_pad; }
  int group_k() const { return k / groups; }
  std::int64_t x_size() const { return std::int64_t{n} * h * w * c; }
  std::int64_t y_size() const { return std::int64_t{n} * out_h() * out_w() * k; }
  std::int64_t w_size() const { return std::int64_t{c} * r * s * group_k(); }
  std::int64_t macs() const { return x_size() * r * s * group_k(); }
  // The convolution that takes y's place to x's.
  Conv2dGeom adjoint() const {
    return {.n = n,
            .h = out_h(),
            .w = out_w(),
            .c = k,
            .k = c,
            .r = r,
            .s = s,
            .stride = stride,
            .pad = pad,
            .groups = groups};
  }
  // y as one row of k values for each of its pixels: its bias gradient is that of a convolution with as many outputs.
  Conv2dGeom pixels() const { return {.n = n, .h = out_h(), .w = out_w(), .c = 1, .k = k, .r = 1, .s = 1}; }
  friend auto operator<=>(const ConvTranspose2dGeom&, const ConvTranspose2dGeom&) = default;
};

}  // namespace offramp

// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
template <class T> void conv_transpose2d_forward(Context&, const ConvTranspose2dGeom&,
    const T* x,         // [n, h, w, c]
    const float* w,     // [c, r, s, k / groups]
    const float* bias,  // [k] or null; in bf16 it and the sum are each rounded before they are added
    T* y);              // [n, out_h, out_w, k]
template <class T> void conv_transpose2d_backward_input(Context&, const ConvTranspose2dGeom&, const T* dy, const float* w, T* dx);
template <class T> void conv_transpose2d_backward_weight(Context&, const ConvTranspose2dGeom&, const T* x, const T* dy, float* dw, Write);
template <class T> void conv_transpose2d_backward_bias(Context&, const ConvTranspose2dGeom&, const T* dy, float* db, Write);
)
// clang-format on
