#pragma once
// One row of logits, shared by softmax and the losses, so that a confidence has the same bits wherever it
// comes from.
#include <algorithm>
#include <limits>

#include "kernels/cpu/loops.h"

namespace offramp::cpu {

struct RowMax {
  float max;
  int argmax;  // the first class that has it; 0 where the row has NaN only
};

inline RowMax row_max(int cols, const float* x) {
  f32x16 best = splat(-std::numeric_limits<float>::infinity());
  each_vector(0, cols, [&](std::int64_t k, auto lanes) {
    const f32x16 v = load(x + k, lanes);
    best = max(select(first_lanes(lanes.count), v, best), best);
  });
  const float top = max_lane(best);
  const float* at = std::find(x, x + cols, top);
  return {top, at == x + cols ? 0 : static_cast<int>(at - x)};
}

// Sum of exp(x - max); the terms go to `e` where it is not null. NaN where the row has a NaN.
inline float sum_of_exp(int cols, const float* x, float max, float* e) {
  f32x16 total = zero();
  each_vector(0, cols, [&](std::int64_t k, auto lanes) {
    const f32x16 term = exp(load(x + k, lanes) - splat(max));
    if (e != nullptr) store(e + k, term, lanes);
    total += blank(term, lanes);
  });
  return sum(total);
}

// About 2048 values: an exponential costs as much as moving 8 values.
inline std::int64_t rows_per_chunk(std::int64_t cols) {
  return std::max<std::int64_t>(1, kChunk / 8 / std::max<std::int64_t>(1, cols));
}

}  // namespace offramp::cpu
