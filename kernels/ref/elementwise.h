#pragma once
// References of kernels/elementwise.h.
#include <cmath>

#include "kernels/ref/store.h"

namespace offramp::ref {

template <class Real>
void relu_forward(std::int64_t n, const Real* x, Real* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] <= 0 ? Real{0} : x[i];  // NaN stays NaN
}

template <class Real>
void relu_backward(std::int64_t n, const Real* y, const Real* dy, Real* dx, Write write) {
  for (std::int64_t i = 0; i < n; ++i) store(write, dx + i, y[i] > 0 ? dy[i] : Real{0});
}

template <class Real>
void add(std::int64_t n, const Real* a, const Real* b, Real* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

template <class Real>
void accumulate(std::int64_t n, const Real* x, Real* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] += x[i];
}

template <class Real>
void scale(std::int64_t n, Real factor, const Real* x, Real* y, Write write) {
  for (std::int64_t i = 0; i < n; ++i) store(write, y + i, factor * x[i]);
}

template <class Real>
void multiply(std::int64_t n, const Real* a, const Real* b, Real* y, Write write) {
  for (std::int64_t i = 0; i < n; ++i) store(write, y + i, a[i] * b[i]);
}

template <class Real>
void axpby(std::int64_t n, Real a, const Real* x, Real b, const Real* y, Real* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = a * x[i] + b * y[i];
}

template <class Real>
void tanh_forward(std::int64_t n, const Real* x, Real* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = std::tanh(x[i]);
}

template <class Real>
void tanh_backward(std::int64_t n, const Real* y, const Real* dy, Real* dx, Write write) {
  for (std::int64_t i = 0; i < n; ++i) store(write, dx + i, dy[i] * (1 - y[i] * y[i]));
}

template <class Real>
Real sign_of(Real x) {
  if (std::isnan(x)) return x;
  return x > 0 ? Real{1} : x < 0 ? Real{-1} : Real{0};
}

template <class Real>
void sign(std::int64_t n, const Real* x, Real* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = sign_of(x[i]);
}

template <class Real>
Real clipped(Real x, Real low, Real high) {
  return x < low ? low : x > high ? high : x;  // NaN stays NaN
}

template <class Real>
void clamp(std::int64_t n, Real low, Real high, const Real* x, Real* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = clipped(x[i], low, high);
}

// The bounds themselves still pass the gradient.
template <class Real>
void clamp_backward(
    std::int64_t n, Real low, Real high, const Real* x, const Real* dy, Real* dx, Write write) {
  for (std::int64_t i = 0; i < n; ++i) store(write, dx + i, x[i] >= low && x[i] <= high ? dy[i] : Real{0});
}

template <class Real>
void absolute(std::int64_t n, const Real* x, Real* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = std::abs(x[i]);
}

template <class Real>
void linf_step(std::int64_t n, const Real* origin, const Real* grad, Real step, Real eps, Real* x) {
  for (std::int64_t i = 0; i < n; ++i) {
    const Real moved = x[i] + step * sign_of(grad[i]);
    x[i] = clipped(clipped(moved, origin[i] - eps, origin[i] + eps), Real{0}, Real{1});
  }
}

template <class Real>
void pixels_from_tanh(std::int64_t n, const Real* w, Real* x) {
  for (std::int64_t i = 0; i < n; ++i) x[i] = (std::tanh(w[i]) + 1) / 2;
}

// tanh(w) = 2 x - 1.
template <class Real>
void pixels_from_tanh_backward(std::int64_t n, const Real* x, const Real* dx, Real* dw, Write write) {
  for (std::int64_t i = 0; i < n; ++i) {
    const Real t = 2 * x[i] - 1;
    store(write, dw + i, dx[i] * (1 - t * t) / 2);
  }
}

}  // namespace offramp::ref
