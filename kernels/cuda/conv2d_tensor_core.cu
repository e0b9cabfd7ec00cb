// Convolution as products of implicit matrices on tensor cores, as conv2d.cu makes them on ordinary ones.
// Forward: rows are output pixels, columns filters. Input gradient: rows are input pixels, columns channels.
// Weight gradient: rows are taps and channels, columns filters (there are more of the former), in fixed parts
// of the output pixels that are added in order. A chunk is eight channels or filters of one pixel or tap.
#include "kernels/cuda/conv2d_tensor_core.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/parts.h"
#include "kernels/cuda/tensor_core_product.h"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#pragma nv_diag_suppress 177  // the kernel is empty there, so nobody calls its operands
#endif

namespace offramp::cuda {
namespace {

// A of the forward: x under the filter of an output pixel.
struct CorePatch {
  static constexpr bool kAlongSum = true;
  struct State {
    const bf16* image;  // null behind the last pixel
    int row, column;
  };
  Conv2dGeom g;
  const bf16* x;
  __device__ State start(int line) const {
    if (line >= g.n * g.out_h() * g.out_w()) return {nullptr, 0, 0};
    const Pixel p = pixel_at(line, g.out_h(), g.out_w());
    return {x + std::int64_t{p.n} * g.h * g.w * g.c, p.row * g.stride - g.pad, p.column * g.stride - g.pad};
  }
  __device__ Chunk chunk(const State& state, int k) const {
    const int tap = k / g.c, channel = k - tap * g.c;
    const int row = state.row + tap / g.s, column = state.column + tap % g.s;
    const bool inside =
        state.image != nullptr && tap < g.r * g.s && row >= 0 && row < g.h && column >= 0 && column < g.w;
    return {inside ? state.image + (std::int64_t{row} * g.w + column) * g.c + channel : x, inside};
  }
};

// B of the forward: the filters as they lie.
struct CoreFilters {
  static constexpr bool kAlongSum = true;
  struct State {
    const bf16* filter;
  };
  Conv2dGeom g;
  const bf16* filters;
  __device__ State start(int line) const {
    return {line < g.k ? filters + std::int64_t{line} * g.r * g.s * g.c : nullptr};
  }
  __device__ Chunk chunk(const State& state, int k) const {
    const bool exists = state.filter != nullptr && k < g.r * g.s * g.c;
    return {exists ? state.filter + k : filters, exists};
  }
};

__device__ __forceinline__ void store_pair(bf16* to, float first, float second) {
  Pack<bf16, 2> pack;
  pack.v[0] = static_cast<bf16>(first);
  pack.v[1] = static_cast<bf16>(second);
  *reinterpret_cast<Pack<bf16, 2>*>(to) = pack;
}

struct CoreOutput {
  Conv2dGeom g;
  ConvEpilogue<bf16> epilogue;
  bf16* y;
  __device__ void store(int /*split*/, int row, int column, float first, float second) const {
    if (row >= g.n * g.out_h() * g.out_w() || column >= g.k) return;
    const std::int64_t at = std::int64_t{row} * g.k + column;
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

// A of the input gradient: the dy that an input pixel went into, by tap; k = tap * filters + filter.
struct CoreOutputsOfPixel {
  static constexpr bool kAlongSum = true;
  struct State {
    const bf16* image;  // of dy
    int row, column;
  };
  Conv2dGeom g;
  const bf16* dy;
  __device__ State start(int line) const {
    if (line >= g.n * g.h * g.w) return {nullptr, 0, 0};
    const Pixel p = pixel_at(line, g.h, g.w);
    return {dy + std::int64_t{p.n} * g.out_h() * g.out_w() * g.k, p.row + g.pad, p.column + g.pad};
  }
  __device__ Chunk chunk(const State& state, int k) const {
    const int tap = k / g.k, filter = k - tap * g.k;
    const int down = state.row - tap / g.s, right = state.column - tap % g.s;
    const int row = down / g.stride, column = right / g.stride;
    const bool inside = state.image != nullptr && tap < g.r * g.s && down >= 0 && right >= 0 &&
                        row * g.stride == down && column * g.stride == right && row < g.out_h() &&
                        column < g.out_w();
    return {inside ? state.image + (std::int64_t{row} * g.out_w() + column) * g.k + filter : dy, inside};
  }
};

// B of the input gradient: filters[filter, tap, channel] with k = tap * filters + filter, eight channels at a
// time.
struct CoreFiltersAcrossChannels {
  static constexpr bool kAlongSum = false;
  struct State {
    int channel;
  };
  Conv2dGeom g;
  const bf16* filters;
  __device__ State start(int line) const { return {line}; }
  __device__ Chunk chunk(const State& state, int k) const {
    const int tap = k / g.k, filter = k - tap * g.k;
    const bool exists = tap < g.r * g.s && state.channel < g.c;
    return {exists ? filters + (std::int64_t{filter} * g.r * g.s + tap) * g.c + state.channel : filters,
            exists};
  }
};

struct CoreInput {
  Conv2dGeom g;
  bf16* dx;
  bool accumulate;
  __device__ void store(int /*split*/, int row, int column, float first, float second) const {
    if (row >= g.n * g.h * g.w || column >= g.c) return;
    bf16* to = dx + std::int64_t{row} * g.c + column;
    if (accumulate) {
      first += to_float(to[0]);
      second += to_float(to[1]);
    }
    store_pair(to, first, second);
  }
};

// A of the weight gradient: x under tap and channel of an output pixel; a line is tap * channels + channel.
struct CorePatchAcrossTaps {
  static constexpr bool kAlongSum = false;
  struct State {
    int down, right, channel;  // of the tap, padding included
    bool exists;
  };
  Conv2dGeom g;
  const bf16* x;
  __device__ State start(int line) const {
    const int tap = line / g.c;
    return {tap / g.s - g.pad, tap % g.s - g.pad, line - tap * g.c, tap < g.r * g.s};
  }
  __device__ Chunk chunk(const State& state, int k) const {
    const Pixel p = pixel_at(k, g.out_h(), g.out_w());
    const int row = p.row * g.stride + state.down, column = p.column * g.stride + state.right;
    const bool inside = state.exists && p.n < g.n && row >= 0 && row < g.h && column >= 0 && column < g.w;
    return {inside ? x + ((std::int64_t{p.n} * g.h + row) * g.w + column) * g.c + state.channel : x, inside};
  }
};

// B of the weight gradient: dy[pixel, filter], eight filters at a time.
struct CoreOutputsAcrossFilters {
  static constexpr bool kAlongSum = false;
  struct State {
    int filter;
  };
  Conv2dGeom g;
  const bf16* dy;
  __device__ State start(int line) const { return {line}; }
  __device__ Chunk chunk(const State& state, int k) const {
    const bool exists = k < g.n * g.out_h() * g.out_w() && state.filter < g.k;
    return {exists ? dy + std::int64_t{k} * g.k + state.filter : dy, exists};
  }
};

// Partial sums [split][k, r, s, c], or the gradient itself where there is one part.
struct CoreWeights {
  Conv2dGeom g;
  float* to;
  bool accumulate;
  __device__ void store(int split, int row, int column, float first, float second) const {
    const int taps = g.r * g.s * g.c;
    if (row >= taps || column >= g.k) return;
    float* at = to + split * g.w_size() + std::int64_t{column} * taps + row;
    cuda::store(at, first, accumulate);
    cuda::store(at + taps, second, accumulate);
  }
};

bool all_aligned(std::initializer_list<const void*> pointers) {
  for (const void* p : pointers) {
    if (reinterpret_cast<std::uintptr_t>(p) % 16 != 0) return false;
  }
  return true;
}

}  // namespace

bool tensor_core_can(const Context& /*ctx*/, const Conv2dGeom& g) {
  // Not what the device is, but what the program has for it: below 80 the kernel is empty.
  return compiled_architecture(tensor_core_product_kernel<CorePatch, CoreFilters, CoreOutput, 16>) >= 80 &&
         g.groups == 1 && g.c % 8 == 0 && g.k % 8 == 0;
}

bool tensor_core_forward(Context& ctx,
                         const Conv2dGeom& g,
                         const bf16* x,
                         const bf16* filters,
                         const ConvEpilogue<bf16>& epilogue,
                         bf16* y) {
  if (!tensor_core_can(ctx, g) || !all_aligned({x, filters, epilogue.residual, y})) return false;
  const int length = g.r * g.s * g.c;
  tensor_core_product(ctx,
                      std::int64_t{g.n} * g.out_h() * g.out_w(),
                      g.k,
                      {length, ceil_div(length, kCoreSum) * kCoreSum, 1},
                      CorePatch{g, x},
                      CoreFilters{g, filters},
                      CoreOutput{g, epilogue, y});
  return true;
}

bool tensor_core_backward_input(
    Context& ctx, const Conv2dGeom& g, const bf16* dy, const bf16* filters, bf16* dx, Write write) {
  if (!tensor_core_can(ctx, g) || !all_aligned({dy, filters, dx})) return false;
  const int length = g.r * g.s * g.k;
  tensor_core_product(ctx,
                      std::int64_t{g.n} * g.h * g.w,
                      g.c,
                      {length, ceil_div(length, kCoreSum) * kCoreSum, 1},
                      CoreOutputsOfPixel{g, dy},
                      CoreFiltersAcrossChannels{g, filters},
                      CoreInput{g, dx, write == Write::kAccumulate});
  return true;
}

bool tensor_core_backward_weight(
    Context& ctx, const Conv2dGeom& g, const bf16* x, const bf16* dy, float* dw, Write write) {
  if (!tensor_core_can(ctx, g) || !all_aligned({x, dy})) return false;
  const int rows = g.r * g.s * g.c, pixels = g.n * g.out_h() * g.out_w();
  const std::int64_t tiles = ceil_div(rows, kCoreRows) * ceil_div(g.k, core_columns(rows, g.k));
  constexpr int kBlocks = 528,
                kShortest = 256;  // four blocks for each multiprocessor of an H200; eight tiles of the sum
  const SumRange range = core_sum(pixels, tiles, kBlocks, kShortest);
  const bool one_part = range.splits == 1;
  float* const to =
      one_part ? dw
               : static_cast<float*>(ctx.workspace(Context::kPartials,
                                                   static_cast<std::size_t>(range.splits) *
                                                       static_cast<std::size_t>(g.w_size()) * sizeof(float)));
  tensor_core_product(ctx,
                      rows,
                      g.k,
                      range,
                      CorePatchAcrossTaps{g, x},
                      CoreOutputsAcrossFilters{g, dy},
                      CoreWeights{g, to, one_part && write == Write::kAccumulate});
  if (!one_part) add_parts(ctx, g.w_size(), range.splits, to, dw, write);
  return true;
}

}  // namespace offramp::cuda
