#pragma once
// 2-D convolution (cross-correlation) with groups; depthwise is groups == c. Weights are the float32 master
// copy in K,R,S,C order; a back end packs or rounds them per call. y[n,i,j,k] = bias[k] + sum over r,s,c of
// x[n, i*stride - pad + r, j*stride - pad + s, c] * w[k,r,s,c], taps outside the image count as zero.
#include <compare>
#include <memory>

#include "kernels/backend.h"

namespace offramp {

struct Conv2dGeom {
  int n = 0, h = 0, w = 0, c = 0;  // input
  int k = 0, r = 0, s = 0;         // output channels, filter height and width
  int stride = 1, pad = 0, groups = 1;

  OFFRAMP_HD int out_h() const { return (h + 2 * pad - r) / stride + 1; }
  OFFRAMP_HD int out_w() const { return (w + 2 * pad - s) / stride + 1; }
  OFFRAMP_HD int group_c() const { return c / groups; }  // input channels that one filter sees
  OFFRAMP_HD int group_k() const { return k / groups; }
  OFFRAMP_HD std::int64_t x_size() const { return std::int64_t{n} * h * w * c; }
  OFFRAMP_HD std::int64_t y_size() const { return std::int64_t{n} * out_h() * out_w() * k; }
  OFFRAMP_HD std::int64_t w_size() const { return std::int64_t{k} * r * s * group_c(); }
  OFFRAMP_HD std::int64_t macs() const { return y_size() * r * s * group_c(); }
  OFFRAMP_HD bool depthwise() const { return groups > 1 && groups == c && k == c; }
  friend auto operator<=>(const Conv2dGeom&, const Conv2dGeom&) = default;
};

}  // namespace offramp

// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
template <class T> void conv2d_forward(Context&, const Conv2dGeom&,
    const T* x,         // [n, h, w, c]
    const float* w,     // [k, r, s, c / groups]
    const float* bias,  // [k] or null
    T* y);              // [n, out_h, out_w, k]
template <class T> void conv2d_backward_input(Context&, const Conv2dGeom&, const T* dy, const float* w, T* dx, Write);
template <class T> void conv2d_backward_weight(Context&, const Conv2dGeom&, const T* x, const T* dy, float* dw, Write);
template <class T> void conv2d_backward_bias(Context&, const Conv2dGeom&, const T* dy, float* db, Write);
// Evaluation with constant weights: conv2d_pack lays them out once as the forward for T wants them (and copies the
// bias), conv2d_forward_packed computes y = act(conv(x) + bias + residual) with one rounding, act = ReLU or nothing. The
// batch may differ from call to call, all else of the geometry is that of the packing. Batch norm is folded into w and
// bias by the caller. A packed convolution is not changed by its use.
class PackedConv2d;
template <class T> std::shared_ptr<const PackedConv2d> conv2d_pack(Context&, const Conv2dGeom&, const float* w, const float* bias);
template <class T> void conv2d_forward_packed(Context&, const Conv2dGeom&, const PackedConv2d&, const T* x,
    const T* residual,  // as y, or null
    bool relu, T* y);
)
// clang-format on
