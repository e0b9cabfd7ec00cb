#pragma once
// y = x W^T + b, in float32 (features, logits and attack networks are float32 in every precision mode).
#include <compare>

#include "kernels/backend.h"

namespace offramp {

struct LinearGeom {
  int rows = 0, in = 0, out = 0;
  friend auto operator<=>(const LinearGeom&, const LinearGeom&) = default;
};

// With more outputs than this the CPU packs the weights in every linear_forward, which pays for many rows.
inline constexpr int kUnpackedOutputs = 128;

}  // namespace offramp

// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
void linear_forward(Context&, const LinearGeom&,
    const float* x,     // [rows, in]
    const float* w,     // [out, in]
    const float* bias,  // [out] or null
    float* y);          // [rows, out]
void linear_backward_input(Context&, const LinearGeom&, const float* dy, const float* w, float* dx, Write);
void linear_backward_weight(Context&, const LinearGeom&, const float* x, const float* dy, float* dw, Write);
void linear_backward_bias(Context&, const LinearGeom&, const float* dy, float* db, Write);
)
// clang-format on
