#pragma once
// The three passes of a convolution as problems of tensor_core_product.h. Forward: rows are output pixels,
// columns filters, the sum runs over taps and channels. Input gradient: rows are input pixels, columns
// channels, the sum runs over taps and filters; with a stride each pixel meets only the taps of its phase
// (row and column, padding included, modulo the stride), so rows go by phase. Weight gradient: rows are taps
// and channels, columns filters (there are more of the former), the sum runs over output pixels. Offsets are
// 32-bit: tensor_core_can refuses larger tensors.
#include "kernels/conv2d.h"
#include "kernels/cuda/depthwise.h"
#include "kernels/cuda/tensor_core_product.h"

namespace offramp::cuda {

// Chunks of kEach pixels under the taps of a filter: where the pixel's first tap lies, and a bit for each tap
// that is inside the image; all at one tap and channel.
template <int kEach>
struct TapCursor {
  int base[kEach];
  unsigned inside[kEach];
  int tap, channel, offset;

  __device__ void start(int k, int channels, const CoreTap* table) {
    tap = k / channels;
    channel = k - tap * channels;
    offset = tap < kCoreTaps ? table[tap].a + channel : 0;  // a part behind the end of the sum
  }
  __device__ Chunk chunk(const bf16* from, int i) const {
    return {from + (base[i] + offset), (inside[i] >> tap & 1u) != 0};
  }
  // 32 = taps * channels + rest.
  __device__ void next(int taps, int rest, int channels, const CoreTap* table) {
    tap += taps;
    channel += rest;
    if (channel >= channels) {
      channel -= channels;
      ++tap;
    }
    offset = table[tap & (kCoreTaps - 1)].a + channel;
  }
};

// Bit r * columns + s: 0 <= row + r * step < height and the same for s. Both loops are a filter's side.
__device__ __forceinline__ unsigned taps_inside(
    int row, int column, int step, int height, int width, int rows, int columns) {
  unsigned one = 0, all = 0;
  for (int s = 0; s < columns; ++s) {
    const int at = column + s * step;
    one |= (at >= 0 && at < width ? 1u : 0u) << s;
  }
  for (int r = 0; r < rows; ++r) {
    const int at = row + r * step;
    if (at >= 0 && at < height) all |= one << (r * columns);
  }
  return all;
}

__device__ __forceinline__ void store_pair(bf16* to, float first, float second) {
  Pack<bf16, 2> pack;
  pack.v[0] = static_cast<bf16>(first);
  pack.v[1] = static_cast<bf16>(second);
  *reinterpret_cast<Pack<bf16, 2>*>(to) = pack;
}

struct CoreForward {
  static constexpr bool kAAlong = true, kBAlong = true, kTaps = true, kMoments = false;
  Conv2dGeom g;
  int out_h, out_w, step_taps, step_rest;  // 32 = step_taps * c + step_rest
  const bf16* x;
  const bf16* filters;
  ConvEpilogue<bf16> epilogue;
  bf16* y;

  struct Phase {
    int first_row, length;
  };
  __device__ Phase phase(int block) const { return {block * kCoreRows, g.r * g.s * g.c}; }
  __device__ int taps(const Phase&) const { return g.r * g.s; }
  __device__ CoreTap tap(const Phase&, int t) const {
    const int r = t / g.s;
    return {(r * g.w + t - r * g.s) * g.c, 0};
  }

  template <int kEach, int kStep>
  struct A {
    TapCursor<kEach> at;
    __device__ A(const CoreForward& p, const Phase&, const CoreTap* table, int line, int k) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const int pixel = line + i * kStep;
        const Pixel o = pixel_at(pixel, p.out_h, p.out_w);
        const int row = o.row * p.g.stride - p.g.pad, column = o.column * p.g.stride - p.g.pad;
        at.base[i] = ((o.n * p.g.h + row) * p.g.w + column) * p.g.c;
        at.inside[i] = o.n < p.g.n ? taps_inside(row, column, 1, p.g.h, p.g.w, p.g.r, p.g.s) : 0;
      }
      at.start(k, p.g.c, table);
    }
    __device__ Chunk chunk(const CoreForward& p, int i) const { return at.chunk(p.x, i); }
    __device__ void next(const CoreForward& p, const CoreTap* table) {
      at.next(p.step_taps, p.step_rest, p.g.c, table);
    }
  };
  // The filters as they lie.
  template <int kEach, int kStep>
  struct B {
    int base[kEach], end[kEach], k;
    __device__ B(const CoreForward& p, const Phase& phase, const CoreTap*, int line, int first) : k(first) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        base[i] = (line + i * kStep) * phase.length;
        end[i] = line + i * kStep < p.g.k ? phase.length : 0;
      }
    }
    __device__ Chunk chunk(const CoreForward& p, int i) const {
      return {p.filters + (base[i] + k), k < end[i]};
    }
    __device__ void next(const CoreForward&, const CoreTap*) { k += kCoreSum; }
  };

  __device__ CoreLine line(const Phase&, int row) const {
    return {std::int64_t{row} * g.k, row < g.n * out_h * out_w};
  }
  __device__ void store(const CoreLine& to, int column, float first, float second) const {
    if (column >= g.k) return;
    const std::int64_t at = to.at + column;
    if (epilogue.bias != nullptr) {
      first += epilogue.bias[column];
      second += epilogue.bias[column + 1];
    }
    if (epilogue.residual != nullptr) {
      first += to_float(epilogue.residual[at]);
      second += to_float(epilogue.residual[at + 1]);
    }
    if (epilogue.relu && first < 0.f) first = 0.f;
    if (epilogue.relu && second < 0.f) second = 0.f;
    store_pair(y + at, first, second);
  }
};

// With the statistics of the batch norm that follows; the epilogue is empty.
struct CoreForwardMoments : CoreForward {
  static constexpr bool kMoments = true;
  const float* bias;  // or null: added to the sums before they are stored and counted
  ChannelMoments moments;
};

// Tiles of rows of one phase of an input gradient, and how many there are of each side.
struct CorePhaseShape {
  int rows, columns;  // of the image's pixels
  int first_row, first_column;
  int down, right;  // taps
  OFFRAMP_HD int tiles(int images) const { return (images * rows * columns + kCoreRows - 1) / kCoreRows; }
};
OFFRAMP_HD inline CorePhaseShape core_phase(const Conv2dGeom& g, int index) {
  const int down = index / g.stride, right = index % g.stride;  // taps down, down + stride, ...
  CorePhaseShape p{};
  // The first row whose place, padding included, is `down` modulo the stride.
  p.first_row = ((down - g.pad) % g.stride + g.stride) % g.stride;
  p.first_column = ((right - g.pad) % g.stride + g.stride) % g.stride;
  p.rows = p.first_row < g.h ? (g.h - p.first_row + g.stride - 1) / g.stride : 0;
  p.columns = p.first_column < g.w ? (g.w - p.first_column + g.stride - 1) / g.stride : 0;
  p.down = down < g.r ? (g.r - down + g.stride - 1) / g.stride : 0;
  p.right = right < g.s ? (g.s - right + g.stride - 1) / g.stride : 0;
  return p;
}

// kWhole: the filters are a multiple of 32, so a tile of the sum lies in one tap.
template <bool kWhole>
struct CoreInputGradient {
  static constexpr bool kAAlong = true, kBAlong = false, kTaps = true, kMoments = false;
  Conv2dGeom g;
  int out_h, out_w, step_taps, step_rest;  // 32 = step_taps * k + step_rest
  const bf16* dy;
  const bf16* filters;
  bf16* dx;
  bool accumulate;

  struct Phase {
    int first_row, length, index;
    CorePhaseShape shape;
  };
  __device__ Phase phase(int block) const {
    int index = 0;
    CorePhaseShape shape = core_phase(g, 0);
    for (; block >= shape.tiles(g.n); shape = core_phase(g, index)) {
      block -= shape.tiles(g.n);
      ++index;
    }
    return {block * kCoreRows, shape.down * shape.right * g.k, index, shape};
  }
  __device__ int taps(const Phase& p) const { return p.shape.down * p.shape.right; }
  __device__ CoreTap tap(const Phase& p, int t) const {
    const int r = t / p.shape.right, s = t - r * p.shape.right;
    const int row = p.index / g.stride + r * g.stride, column = p.index % g.stride + s * g.stride;
    return {-(r * out_w + s) * g.k, (row * g.s + column) * g.c};
  }
  __device__ Pixel pixel(const Phase& p, int line) const {
    Pixel at = pixel_at(line, p.shape.rows, p.shape.columns);
    at.row = at.row * g.stride + p.shape.first_row;
    at.column = at.column * g.stride + p.shape.first_column;
    return at;
  }

  template <int kEach, int kStep>
  struct A {
    TapCursor<kEach> at;
    __device__ A(const CoreInputGradient& p, const Phase& phase, const CoreTap* table, int line, int k) {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const Pixel o = p.pixel(phase, line + i * kStep);
        // dy under the phase's first tap: a tap further, one pixel up or left.
        const int row = (o.row + p.g.pad - phase.index / p.g.stride) / p.g.stride;
        const int column = (o.column + p.g.pad - phase.index % p.g.stride) / p.g.stride;
        at.base[i] = ((o.n * p.out_h + row) * p.out_w + column) * p.g.k;
        at.inside[i] =
            o.n < p.g.n ? taps_inside(row, column, -1, p.out_h, p.out_w, phase.shape.down, phase.shape.right)
                        : 0;
      }
      at.start(k, p.g.k, table);
    }
    __device__ Chunk chunk(const CoreInputGradient& p, int i) const { return at.chunk(p.dy, i); }
    __device__ void next(const CoreInputGradient& p, const CoreTap* table) {
      at.next(p.step_taps, p.step_rest, p.g.k, table);
    }
  };
  // filters[filter, tap, channel], eight channels of one filter and tap at a time.
  template <int kEach, int kStep>
  struct B {
    static constexpr int kOwn = kWhole ? 1 : kEach;  // places of the sum that are stepped on their own
    int channel, taps, tap[kOwn], filter[kOwn], offset[kOwn];
    __device__ int place(const CoreInputGradient& p, int i, const CoreTap* table) const {
      return filter[i] * (p.g.r * p.g.s * p.g.c) + table[tap[i] & (kCoreTaps - 1)].b + channel;
    }
    __device__ B(const CoreInputGradient& p, const Phase& phase, const CoreTap* table, int line, int k)
        : channel(line), taps(line < p.g.c ? p.taps(phase) : 0) {
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        tap[i] = (k + i * kStep) / p.g.k;
        filter[i] = k + i * kStep - tap[i] * p.g.k;
        offset[i] = place(p, i, table);
      }
    }
    __device__ Chunk chunk(const CoreInputGradient& p, int i) const {
      if constexpr (kWhole) {
        return {p.filters + (offset[0] + i * kStep * (p.g.r * p.g.s * p.g.c)), taps > 0};
      } else {
        return {p.filters + offset[i], tap[i] < taps};
      }
    }
    __device__ void next(const CoreInputGradient& p, const CoreTap* table) {
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        tap[i] += p.step_taps;
        filter[i] += p.step_rest;
        if (filter[i] >= p.g.k) {
          filter[i] -= p.g.k;
          ++tap[i];
        }
        offset[i] = place(p, i, table);
      }
    }
  };
  __device__ CoreLine line(const Phase& p, int row) const {
    const Pixel at = pixel(p, row);
    return {((std::int64_t{at.n} * g.h + at.row) * g.w + at.column) * g.c, at.n < g.n};
  }
  __device__ void store(const CoreLine& to, int column, float first, float second) const {
    if (column >= g.c) return;
    bf16* const at = dx + to.at + column;
    if (accumulate) {
      first += to_float(at[0]);
      second += to_float(at[1]);
    }
    store_pair(at, first, second);
  }
};

struct CoreWeightGradient {
  static constexpr bool kAAlong = false, kBAlong = false, kTaps = false, kMoments = false;
  Conv2dGeom g;
  int pixels;                                // output pixels
  int step_columns, step_rows, step_offset;  // 32 output pixels further in x, before carries
  int width, height;                         // of the output, times the stride
  int column_carry, row_carry;               // what x's place changes by where a row, an image ends
  const bf16* x;
  const bf16* dy;
  float* dw;
  bool accumulate;

  struct Phase {
    int first_row, length;
  };
  __device__ Phase phase(int block) const { return {block * kCoreRows, pixels}; }

  // x under tap and channel of an output pixel; a line is tap * channels + channel.
  template <int kEach, int kStep>
  struct A {
    int row[kEach], column[kEach], offset[kEach];  // in x, of the line's tap
    int row_end, column_end, k;
    __device__ A(const CoreWeightGradient& p, const Phase&, const CoreTap*, int line, int first) : k(first) {
      const int tap = line / p.g.c, channel = line - tap * p.g.c;
      const int down = tap / p.g.s - p.g.pad, right = tap % p.g.s - p.g.pad;
      row_end = p.height + down;
      column_end = p.width + right;
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const Pixel o = pixel_at(first + i * kStep, p.height / p.g.stride, p.width / p.g.stride);
        row[i] = o.row * p.g.stride + down;
        column[i] = o.column * p.g.stride + right;
        offset[i] = ((o.n * p.g.h + row[i]) * p.g.w + column[i]) * p.g.c + channel;
      }
      if (tap >= p.g.r * p.g.s) k = p.pixels;  // no such line
    }
    __device__ Chunk chunk(const CoreWeightGradient& p, int i) const {
      return {p.x + offset[i],
              k < p.pixels - i * kStep && static_cast<unsigned>(row[i]) < static_cast<unsigned>(p.g.h) &&
                  static_cast<unsigned>(column[i]) < static_cast<unsigned>(p.g.w)};
    }
    __device__ void next(const CoreWeightGradient& p, const CoreTap*) {
      k += kCoreSum;
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        column[i] += p.step_columns;
        row[i] += p.step_rows;
        offset[i] += p.step_offset;
        if (column[i] >= column_end) {
          column[i] -= p.width;
          row[i] += p.g.stride;
          offset[i] += p.column_carry;
        }
        if (row[i] >= row_end) {
          row[i] -= p.height;
          offset[i] += p.row_carry;
        }
      }
    }
  };
  // dy[pixel, filter], eight filters at a time.
  template <int kEach, int kStep>
  struct B {
    int offset, k;
    __device__ B(const CoreWeightGradient& p, const Phase&, const CoreTap*, int line, int first)
        : offset(first * p.g.k + line), k(line < p.g.k ? first : p.pixels) {}
    __device__ Chunk chunk(const CoreWeightGradient& p, int i) const {
      return {p.dy + (offset + i * kStep * p.g.k), k < p.pixels - i * kStep};
    }
    __device__ void next(const CoreWeightGradient& p, const CoreTap*) {
      k += kCoreSum;
      offset += kCoreSum * p.g.k;
    }
  };

  __device__ CoreLine line(const Phase&, int row) const { return {row, row < g.r * g.s * g.c}; }
  __device__ void store(const CoreLine& to, int column, float first, float second) const {
    if (column >= g.k) return;
    const int taps = g.r * g.s * g.c;
    float* const at = dw + to.at + std::int64_t{column} * taps;
    cuda::store(at, first, accumulate);
    cuda::store(at + taps, second, accumulate);
  }
};

}  // namespace offramp::cuda
