// The implicit matrices of a convolution for tile_product.h, one product a group. Forward: rows are output
// pixels, columns filters, the sum runs over taps and input channels. Input gradient: rows are input pixels,
// columns input channels, the sum runs over taps and filters. Weight gradient: rows are filters, columns taps
// and channels, the sum runs over output pixels in fixed parts that are added in order.
#pragma once

#include "kernels/conv2d.h"
#include "kernels/cuda/device_helpers.h"
#include "kernels/cuda/tile_product.h"

namespace offramp::cuda {

// A of the forward: x under the filter of an output pixel.
template <class T>
struct PatchOfOutput {
  static constexpr bool kAlongSum = true;
  struct State {
    const T* image;  // of the group's channels, or null behind the last pixel
    int row, column;
  };
  Conv2dGeom g;
  const T* x;
  __device__ State start(int group, int line) const {
    if (line >= g.n * g.out_h() * g.out_w()) return {nullptr, 0, 0};
    const Pixel p = pixel_at(line, g.out_h(), g.out_w());
    return {x + std::int64_t{p.n} * g.h * g.w * g.c + group * g.group_c(),
            p.row * g.stride - g.pad,
            p.column * g.stride - g.pad};
  }
  __device__ void load(const State& state, int k, float (&out)[4]) const {
    const int width = g.group_c();
    int tap = k / width, channel = k - tap * width;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = state.row + tap / g.s, column = state.column + tap % g.s;
      const bool inside =
          state.image != nullptr && tap < g.r * g.s && row >= 0 && row < g.h && column >= 0 && column < g.w;
      out[i] = inside ? to_float(state.image[(std::int64_t{row} * g.w + column) * g.c + channel]) : 0.f;
      if (++channel == width) {
        channel = 0;
        ++tap;
      }
    }
  }
};

// B of the forward: the filters as they lie, [k][taps and channels].
struct FilterAlongTaps {
  static constexpr bool kAlongSum = true;
  struct State {
    const float* filter;
  };
  Conv2dGeom g;
  const float* w;
  __device__ int length() const { return g.r * g.s * g.group_c(); }
  __device__ State start(int group, int line) const {
    return {line < g.group_k() ? w + (std::int64_t{group} * g.group_k() + line) * length() : nullptr};
  }
  __device__ void load(const State& state, int k, float (&out)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      out[i] = state.filter != nullptr && k + i < length() ? state.filter[k + i] : 0.f;
  }
};

template <class T>
struct OutputSink {
  Conv2dGeom g;
  ConvEpilogue<T> epilogue;
  T* y;
  __device__ void store(int group, int row, int column, float value) const {
    if (row >= g.n * g.out_h() * g.out_w() || column >= g.group_k()) return;
    const int k = group * g.group_k() + column;
    const std::int64_t at = std::int64_t{row} * g.k + k;
    if (epilogue.bias != nullptr) value += epilogue.bias[k];
    if (epilogue.residual != nullptr) value += to_float(epilogue.residual[at]);
    if (epilogue.relu && value < 0.f) value = 0.f;
    cuda::store(y + at, value, false);
  }
};

// A of the input gradient: the dy that an input pixel went into, by tap; k = tap * group_k + filter.
template <class T>
struct OutputsOfPixel {
  static constexpr bool kAlongSum = true;
  struct State {
    const T* image;  // dy of the group's filters
    int row, column;
  };
  Conv2dGeom g;
  const T* dy;
  __device__ State start(int group, int line) const {
    if (line >= g.n * g.h * g.w) return {nullptr, 0, 0};
    const Pixel p = pixel_at(line, g.h, g.w);
    return {dy + std::int64_t{p.n} * g.out_h() * g.out_w() * g.k + group * g.group_k(),
            p.row + g.pad,
            p.column + g.pad};
  }
  __device__ void load(const State& state, int k, float (&out)[4]) const {
    const int width = g.group_k();
    int tap = k / width, filter = k - tap * width;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int down = state.row - tap / g.s, right = state.column - tap % g.s;
      const int row = down / g.stride, column = right / g.stride;
      const bool inside = state.image != nullptr && tap < g.r * g.s && down >= 0 && right >= 0 &&
                          row * g.stride == down && column * g.stride == right && row < g.out_h() &&
                          column < g.out_w();
      out[i] = inside ? to_float(state.image[(std::int64_t{row} * g.out_w() + column) * g.k + filter]) : 0.f;
      if (++filter == width) {
        filter = 0;
        ++tap;
      }
    }
  }
};

// B of the input gradient: w[filter, tap, channel] with k = tap * group_k + filter, four channels at a time.
struct FilterAcrossChannels {
  static constexpr bool kAlongSum = false;
  struct State {
    const float* filters;
    int channel;
  };
  Conv2dGeom g;
  const float* w;
  __device__ State start(int group, int line) const {
    return {w + std::int64_t{group} * g.group_k() * g.r * g.s * g.group_c(), line};
  }
  __device__ void load(const State& state, int k, float (&out)[4]) const {
    const int tap = k / g.group_k(), filter = k - tap * g.group_k();
    const float* values =
        state.filters + (std::int64_t{filter} * g.r * g.s + tap) * g.group_c() + state.channel;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[i] = tap < g.r * g.s && state.channel + i < g.group_c() ? values[i] : 0.f;
    }
  }
};

template <class T>
struct InputSink {
  Conv2dGeom g;
  T* dx;
  bool accumulate;
  __device__ void store(int group, int row, int column, float value) const {
    if (row >= g.n * g.h * g.w || column >= g.group_c()) return;
    cuda::store(dx + std::int64_t{row} * g.c + group * g.group_c() + column, value, accumulate);
  }
};

// A of the weight gradient: dy[pixel, filter], four filters at a time.
template <class T>
struct OutputsAcrossFilters {
  static constexpr bool kAlongSum = false;
  struct State {
    const T* values;
    int filter;
  };
  Conv2dGeom g;
  const T* dy;
  __device__ State start(int group, int line) const { return {dy + group * g.group_k() + line, line}; }
  __device__ void load(const State& state, int k, float (&out)[4]) const {
    const T* values = state.values + std::int64_t{k} * g.k;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[i] = k < g.n * g.out_h() * g.out_w() && state.filter + i < g.group_k() ? to_float(values[i]) : 0.f;
    }
  }
};

// B of the weight gradient: x under tap and channel of an output pixel; a line is tap * group_c + channel.
template <class T>
struct PatchAcrossTaps {
  static constexpr bool kAlongSum = false;
  struct State {
    const T* x;
    int tap, channel;
  };
  Conv2dGeom g;
  const T* x;
  __device__ State start(int group, int line) const {
    const int tap = line / g.group_c();
    return {x + group * g.group_c(), tap, line - tap * g.group_c()};
  }
  __device__ void load(const State& state, int k, float (&out)[4]) const {
    const bool exists = k < g.n * g.out_h() * g.out_w();
    const Pixel p = pixel_at(exists ? k : 0, g.out_h(), g.out_w());
    int tap = state.tap, channel = state.channel;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = p.row * g.stride - g.pad + tap / g.s, column = p.column * g.stride - g.pad + tap % g.s;
      const bool inside = exists && tap < g.r * g.s && row >= 0 && row < g.h && column >= 0 && column < g.w;
      out[i] =
          inside ? to_float(state.x[((std::int64_t{p.n} * g.h + row) * g.w + column) * g.c + channel]) : 0.f;
      if (++channel == g.group_c()) {
        channel = 0;
        ++tap;
      }
    }
  }
};

// Partial sums [split][k, r, s, c], or the gradient itself where there is one part.
struct WeightSink {
  Conv2dGeom g;
  int splits;
  float* to;
  bool accumulate;
  __device__ void store(int batch, int row, int column, float value) const {
    const int taps = g.r * g.s * g.group_c();
    if (row >= g.group_k() || column >= taps) return;
    const int group = batch / splits, split = batch % splits;
    cuda::store(to + split * g.w_size() + (std::int64_t{group} * g.group_k() + row) * taps + column,
                value,
                accumulate);
  }
};

}  // namespace offramp::cuda
