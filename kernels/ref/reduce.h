#pragma once
// References of kernels/reduce.h.
#include <cmath>

#include "kernels/reduce.h"
#include "kernels/ref/store.h"

namespace offramp::ref {

template <class Real>
void sum_all(std::int64_t n, const Real* x, Real* out, Write write) {
  Real sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i];
  store(write, out, sum);
}

template <class Real>
void dot(std::int64_t n, const Real* a, const Real* b, Real* out) {
  *out = 0;
  for (std::int64_t i = 0; i < n; ++i) *out += a[i] * b[i];
}

template <class Real>
void row_norm(int rows, std::int64_t cols, RowNorm kind, const Real* x, Real* out) {
  for (int r = 0; r < rows; ++r) {
    Real sum = 0, largest = 0;
    for (std::int64_t k = 0; k < cols; ++k) {
      const Real v = x[r * cols + k], size = std::abs(v);
      if (kind == RowNorm::kSum) sum += v;
      if (kind == RowNorm::kL1) sum += size;
      if (kind == RowNorm::kSquaredL2 || kind == RowNorm::kL2) sum += v * v;
      if (size > largest || std::isnan(size)) largest = size;
    }
    out[r] = kind == RowNorm::kL2 ? std::sqrt(sum) : kind == RowNorm::kLinf ? largest : sum;
  }
}

template <class Real>
void row_norm_backward(int rows,
                       std::int64_t cols,
                       RowNorm kind,
                       const Real* x,
                       const Real* norm,
                       const Real* dnorm,
                       Real* dx,
                       Write write) {
  for (int r = 0; r < rows; ++r) {
    bool reached = false;  // the maximum, by an element before this one
    for (std::int64_t k = 0; k < cols; ++k) {
      const Real v = x[r * cols + k];
      const Real sign = v > 0 ? 1 : v < 0 ? -1 : 0;
      Real slope = 0;
      if (kind == RowNorm::kSum) slope = 1;
      if (kind == RowNorm::kL1) slope = sign;
      if (kind == RowNorm::kSquaredL2) slope = 2 * v;
      if (kind == RowNorm::kL2 && norm[r] > 0) slope = v / norm[r];
      if (kind == RowNorm::kLinf && !reached && std::abs(v) == norm[r]) slope = sign, reached = true;
      store(write, dx + r * cols + k, dnorm[r] * slope);
    }
  }
}

template <class Real>
void column_sum(int rows, int cols, const Real* x, Real* out, Write write) {
  for (int c = 0; c < cols; ++c) {
    Real sum = 0;
    for (int r = 0; r < rows; ++r) sum += x[std::int64_t{r} * cols + c];
    store(write, out + c, sum);
  }
}

template <class Real>
std::int32_t count_nonfinite(std::int64_t n, const Real* x) {
  std::int32_t count = 0;
  for (std::int64_t i = 0; i < n; ++i) count += std::isfinite(x[i]) ? 0 : 1;
  return count;
}

}  // namespace offramp::ref
