#pragma once
// Max and average pooling, floor mode, square windows, no padding; and the mixed pool of an internal
// classifier, alpha * max + (1 - alpha) * avg with one learned alpha (specs: networks 1.1). Average and mixed
// pools feed classifiers, so their outputs are float32 in every precision mode.
#include <compare>

#include "kernels/backend.h"

namespace offramp {

// The place of a window's maximum, row * k + column, is kept in a byte: 0 to 255.
inline constexpr int kMaxIndexedWindow = 16;

struct PoolGeom {
  int n = 0, h = 0, w = 0, c = 0;
  int k = 1, stride = 1;  // window side (at most kMaxIndexedWindow where places are kept) and step

  OFFRAMP_HD int out_h() const { return (h - k) / stride + 1; }
  OFFRAMP_HD int out_w() const { return (w - k) / stride + 1; }
  OFFRAMP_HD std::int64_t x_size() const { return std::int64_t{n} * h * w * c; }
  OFFRAMP_HD std::int64_t y_size() const { return std::int64_t{n} * out_h() * out_w() * c; }
  friend auto operator<=>(const PoolGeom&, const PoolGeom&) = default;
};

}  // namespace offramp

// `index` is the place of the maximum in its window, row * k + column, the first one among equals; NaN wins.
// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
template <class T> void max_pool_forward(Context&, const PoolGeom&,
    const T* x,            // [n, h, w, c]
    T* y,                  // [n, out_h, out_w, c]
    std::uint8_t* index);  // [n, out_h, out_w, c] or null
template <class T> void max_pool_backward(Context&, const PoolGeom&, const T* dy, const std::uint8_t* index, T* dx, Write);
template <class T> void avg_pool_forward(Context&, const PoolGeom&, const T* x, float* y);
template <class T> void avg_pool_backward(Context&, const PoolGeom&, const float* dy, T* dx, Write);
template <class T> void exit_pool_forward(Context&, const PoolGeom&,
    const T* x,            // [n, h, w, c]
    const float* alpha,    // [1]
    float* y,              // [n, out_h, out_w, c]
    float* max_minus_avg,  // [n, out_h, out_w, c] or null: what the gradient of alpha needs
    std::uint8_t* index);  // [n, out_h, out_w, c] or null
template <class T> void exit_pool_backward_input(Context&, const PoolGeom&,
    const float* dy, const float* alpha, const std::uint8_t* index, T* dx, Write);
void exit_pool_backward_alpha(Context&, const PoolGeom&,
    const float* dy, const float* max_minus_avg,
    float* dalpha, Write);  // [1]: sum of dy * max_minus_avg
)
// clang-format on
