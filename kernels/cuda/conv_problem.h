#pragma once
// What a library is asked for: one convolution, or one matrix product. The keys of the plan caches; no vendor
// header.
#include <compare>

#include "kernels/conv2d.h"

namespace offramp::cuda {

enum class NumberType { kFloat, kBf16 };

template <class T>
inline constexpr NumberType kNumberType = sizeof(T) == sizeof(float) ? NumberType::kFloat : NumberType::kBf16;

enum class ConvPass { kForward, kBackwardInput, kBackwardWeight };

// Forward: x, w -> y. Input gradient: dy, w -> dx. Weight gradient: x, dy -> dw. Both inputs have the type
// `in`.
struct ConvProblem {
  ConvPass pass = ConvPass::kForward;
  Conv2dGeom g;
  NumberType in = NumberType::kFloat, out = NumberType::kFloat;
  bool adds = false;  // to what the output holds, with one rounding
  bool tf32 = false;  // float inputs may be rounded to ten bits of mantissa
  // Of the forward, in this order, before the one rounding; the residual has the type `out`.
  bool bias = false, residual = false, relu = false;
  friend auto operator<=>(const ConvProblem&, const ConvProblem&) = default;
};

// Where its tensors lie. The pass decides which of the first three is written.
struct ConvBuffers {
  const void* image = nullptr;   // x or dx, [n, h, w, c]
  const void* filter = nullptr;  // w or dw, [k, r, s, group_c]
  const void* output = nullptr;  // y or dy, [n, out_h, out_w, k]
  const float* bias = nullptr;   // [k]
  const void* residual = nullptr;
};

}  // namespace offramp::cuda
