#pragma once
// References of kernels/arrange.h. What only copies (columns, rows, layouts) is as exact here as in the back
// ends.
#include "kernels/philox.h"
#include "kernels/ref/store.h"

namespace offramp::ref {

template <class T>
void write_columns(std::int64_t rows, int total, int offset, int width, const T* part, T* whole) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (int c = 0; c < width; ++c) whole[r * total + offset + c] = part[r * width + c];
}

template <class Real>
void read_columns(
    std::int64_t rows, int total, int offset, int width, const Real* whole, Real* part, Write write) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (int c = 0; c < width; ++c) store(write, part + r * width + c, whole[r * total + offset + c]);
}

// The key already carries the step.
template <class Real>
void dropout(std::int64_t n, float p, const PhiloxKey& key, const Real* x, Real* y, Write write) {
  for (std::int64_t i = 0; i < n; ++i) {
    const bool stays = key.uniform(static_cast<std::uint64_t>(i)) >= p;
    store(write, y + i, stays ? x[i] / (1 - static_cast<Real>(p)) : Real{0});
  }
}

template <class Real>
void normalize_pixels(
    std::int64_t rows, int channels, const float* mean, const float* inv_std, const Real* x, Real* y) {
  for (std::int64_t i = 0; i < rows * channels; ++i) {
    const std::int64_t c = i % channels;
    y[i] = (x[i] - static_cast<Real>(mean[c])) * static_cast<Real>(inv_std[c]);
  }
}

template <class Real>
void normalize_pixels_backward(
    std::int64_t rows, int channels, const float* inv_std, const Real* dy, Real* dx, Write write) {
  for (std::int64_t i = 0; i < rows * channels; ++i)
    store(write, dx + i, dy[i] * static_cast<Real>(inv_std[i % channels]));
}

template <class T>
void nchw_to_nhwc(int n, int c, int h, int w, const T* x, T* y) {
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < c; ++j)
      for (int p = 0; p < h * w; ++p)
        y[(std::int64_t{i} * h * w + p) * c + j] = x[(std::int64_t{i} * c + j) * h * w + p];
}

}  // namespace offramp::ref
