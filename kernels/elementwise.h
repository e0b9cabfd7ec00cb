#pragma once
// Elementwise passes over `n` values. Outputs may alias inputs exactly (same pointer) unless Write is
// kAccumulate.
#include "kernels/backend.h"

// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
template <class T> void relu_forward(Context&, std::int64_t n, const T* x, T* y);
template <class T> void relu_backward(Context&, std::int64_t n, const T* y, const T* dy, T* dx, Write);  // mask y > 0
template <class T> void add(Context&, std::int64_t n, const T* a, const T* b, T* y);
template <class T> void accumulate(Context&, std::int64_t n, const T* x, T* y);        // y += x
template <class T> void scale(Context&, std::int64_t n, float factor, const T* x, T* y, Write);
// The factor is read from device memory: how a loss op scales its stored gradient by what came from above.
template <class T> void scale_by(Context&, std::int64_t n, const float* factor, const T* x, T* y, Write);
template <class T> void fill(Context&, std::int64_t n, float value, T* y);
template <class From, class To> void convert(Context&, std::int64_t n, const From* x, To* y, Write);  // float <-> bf16
// Float only: attacks work on float32 pixels.
void multiply(Context&, std::int64_t n, const float* a, const float* b, float* y, Write);
void axpby(Context&, std::int64_t n, float a, const float* x, float b, const float* y, float* out);  // a x + b y
void tanh_forward(Context&, std::int64_t n, const float* x, float* y);
void tanh_backward(Context&, std::int64_t n, const float* y, const float* dy, float* dx, Write);  // dy (1 - y^2)
void sign(Context&, std::int64_t n, const float* x, float* y);                   // -1, 0, 1; NaN stays NaN
void clamp(Context&, std::int64_t n, float low, float high, const float* x, float* y);
void clamp_backward(Context&, std::int64_t n, float low, float high, const float* x, const float* dy, float* dx, Write);
void absolute(Context&, std::int64_t n, const float* x, float* y);
// One l-inf step: x <- clip(clip(x + step * sign(grad), origin - eps, origin + eps), 0, 1), exact after rounding:
// |x - origin| <= eps holds in float arithmetic.
void linf_step(Context&, std::int64_t n, const float* origin, const float* grad, float step, float eps, float* x);
// Change of variables of unconstrained attacks: x = (tanh(w) + 1) / 2 and its gradient dw = dx (1 - tanh(w)^2) / 2.
void pixels_from_tanh(Context&, std::int64_t n, const float* w, float* x);
void pixels_from_tanh_backward(Context&, std::int64_t n, const float* x, const float* dx, float* dw, Write);
)
// clang-format on
