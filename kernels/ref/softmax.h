#pragma once
// References of kernels/softmax.h.
#include <cmath>

#include "kernels/ref/store.h"

namespace offramp::ref {

// log(sum of exp) of one row, shifted by its maximum.
template <class Real>
Real log_sum_exp(int cols, const Real* x) {
  Real max = x[0], sum = 0;
  for (int k = 1; k < cols; ++k) max = x[k] > max ? x[k] : max;
  for (int k = 0; k < cols; ++k) sum += std::exp(x[k] - max);
  return max + std::log(sum);
}

template <class Real>
void log_softmax_rows(int rows, int cols, const Real* x, Real* y) {
  for (int r = 0; r < rows; ++r) {
    const Real lse = log_sum_exp(cols, x + std::int64_t{r} * cols);
    for (std::int64_t i = std::int64_t{r} * cols; i < std::int64_t{r + 1} * cols; ++i) y[i] = x[i] - lse;
  }
}

template <class Real>
void softmax_rows(int rows, int cols, const Real* x, Real* y) {
  log_softmax_rows(rows, cols, x, y);
  for (std::int64_t i = 0; i < std::int64_t{rows} * cols; ++i) y[i] = std::exp(y[i]);
}

// dx_k = y_k (dy_k - sum_j dy_j y_j).
template <class Real>
void softmax_rows_backward(int rows, int cols, const Real* y, const Real* dy, Real* dx, Write write) {
  for (std::int64_t row = 0; row < std::int64_t{rows} * cols; row += cols) {
    Real dot = 0;
    for (int k = 0; k < cols; ++k) dot += dy[row + k] * y[row + k];
    for (int k = 0; k < cols; ++k) store(write, dx + row + k, y[row + k] * (dy[row + k] - dot));
  }
}

// dx_k = dy_k - exp(y_k) sum_j dy_j.
template <class Real>
void log_softmax_rows_backward(int rows, int cols, const Real* y, const Real* dy, Real* dx, Write write) {
  for (std::int64_t row = 0; row < std::int64_t{rows} * cols; row += cols) {
    Real sum = 0;
    for (int k = 0; k < cols; ++k) sum += dy[row + k];
    for (int k = 0; k < cols; ++k) store(write, dx + row + k, dy[row + k] - std::exp(y[row + k]) * sum);
  }
}

template <class Real>
void row_confidence(int rows, int cols, const Real* logits, Real* confidence, std::int32_t* argmax) {
  for (int r = 0; r < rows; ++r) {
    const Real* x = logits + std::int64_t{r} * cols;
    int best = 0;
    for (int k = 1; k < cols; ++k)
      if (x[k] > x[best]) best = k;
    confidence[r] = std::exp(x[best] - log_sum_exp(cols, x));
    if (argmax != nullptr) argmax[r] = best;
  }
}

template <class Real>
void row_confidence_backward(int rows,
                             int cols,
                             const Real* logits,
                             const Real* confidence,
                             const std::int32_t* argmax,
                             const Real* dconf,
                             Real* dlogits,
                             Write write) {
  for (int r = 0; r < rows; ++r) {
    const std::int64_t row = std::int64_t{r} * cols;
    const Real lse = log_sum_exp(cols, logits + row);
    for (int k = 0; k < cols; ++k) {
      const Real p = std::exp(logits[row + k] - lse), delta = k == argmax[r] ? 1 : 0;
      store(write, dlogits + row + k, dconf[r] * confidence[r] * (delta - p));
    }
  }
}

}  // namespace offramp::ref
