#pragma once
// Moving values around: channel concatenation, rows, dropout, image normalisation.
#include "kernels/backend.h"
#include "kernels/philox.h"

// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
// Copies [rows, width] into columns offset .. offset + width - 1 of [rows, total] (concat writes each part so),
template <class T> void write_columns(Context&, std::int64_t rows, int total, int offset, int width, const T* part, T* whole);
// and back: part = or += those columns of whole.
template <class T> void read_columns(Context&, std::int64_t rows, int total, int offset, int width, const T* whole,
                                     T* part, Write);
// dst[i] = src[index[i]] for i < count, each row of row_bytes bytes. dst and src do not overlap.
void gather_rows(Context&, int count, std::int64_t row_bytes, const std::int32_t* index, const void* src, void* dst);
// dst[index[i]] = src[i]; the indices are distinct.
void scatter_rows(Context&, int count, std::int64_t row_bytes, const std::int32_t* index, const void* src, void* dst);
// y = or += x * mask / (1 - p), mask[i] = uniform(i) >= p, the key's step taken from state if not null. The backward of dropout
// is dropout of dy with the same key.
template <class T> void dropout(Context&, std::int64_t n, float p, PhiloxKey key, const StepState* state,
                                const T* x, T* y, Write);
// y[row, c] = (x[row, c] - mean[c]) * inv_std[c]; pixels are float32 in [0, 1], y is T. channels <= 16.
template <class T> void normalize_pixels(Context&, std::int64_t rows, int channels, const float* mean,
                                         const float* inv_std, const float* x, T* y);
template <class T> void normalize_pixels_backward(Context&, std::int64_t rows, int channels, const float* inv_std,
                                                  const T* dy, float* dx, Write);
// Dense [n, c, h, w] <-> [n, h, w, c], float32: the layouts of files and of memory.
void nchw_to_nhwc(Context&, int n, int c, int h, int w, const float* x, float* y);
void nhwc_to_nchw(Context&, int n, int c, int h, int w, const float* x, float* y);
)
// clang-format on
