#pragma once
// Reductions with a fixed order: the same bits for any thread count.
#include "kernels/backend.h"

namespace offramp {

enum class RowNorm { kSum, kL1, kSquaredL2, kL2, kLinf };

}  // namespace offramp

// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
template <class T> void sum_all(Context&, std::int64_t n, const T* x, float* out, Write);           // out: [1]
void dot(Context&, std::int64_t n, const float* a, const float* b, float* out);                     // out: [1]
void row_norm(Context&, int rows, std::int64_t cols, RowNorm kind, const float* x, float* out);     // out: [rows]
// Gradient of row_norm: dx += or = dnorm[row] * d norm / d x; 0 where L2 is 0 and at the kinks of L1 and Linf;
// Linf sends everything to the first element that reaches the maximum.
void row_norm_backward(Context&, int rows, std::int64_t cols, RowNorm kind, const float* x, const float* norm,
                       const float* dnorm, float* dx, Write);
void column_sum(Context&, int rows, int cols, const float* x, float* out, Write);                   // out: [cols]
// Number of NaN or infinite values, written as int32.
template <class T> void count_nonfinite(Context&, std::int64_t n, const T* x, std::int32_t* out);
)
// clang-format on
