#pragma once
// What a forward convolution does with a finished sum before it is rounded and stored.
#include "kernels/cpu/simd.h"

namespace offramp::cpu {

template <class T>
struct Epilogue {
  const float* bias = nullptr;  // [channels]
  const T* residual = nullptr;  // as y
  bool relu = false;
  T* y = nullptr;

  // Lanes of value belong to elements at .. at + lanes - 1 of y, channels c and on.
  OFFRAMP_SIMD_FN void store(std::int64_t at, int c, int lanes, f32x16 value) const {
    if (bias) value += load_n(bias + c, lanes);
    if (residual) value += load_n(residual + at, lanes);
    if (relu) value = max(zero(), value);  // in this order NaN stays
    store_n(y + at, value, lanes);
  }
};

}  // namespace offramp::cpu
