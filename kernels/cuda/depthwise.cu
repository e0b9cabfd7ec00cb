// Depthwise convolution. A thread makes one pixel of kWidth neighbouring channels, one 16-byte access a tap;
// the filters of the block's channels lie transposed in shared memory. Neighbouring threads read neighbouring
// channels, neighbouring pixels find their taps in the cache: x is read from memory about once.
// Weight gradient: a block sums a part of the pixels for up to nine taps in registers; the last block of its
// channels adds the parts in order. Filters of 3x3 with strides 1 and 2 are compiled apart (kSide, kStride; 0 is
// what the geometry says): their taps are all asked for before the first is used.
#include "kernels/cuda/depthwise.h"

#include <algorithm>
#include <type_traits>

#include "kernels/cuda/channel_moments.h"
#include "kernels/cuda/channel_tiles.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/last_block.h"

namespace offramp::cuda {
namespace {

constexpr int kThreads = kTileRowsThreads, kPixelsPerThread = 8, kTapsPerPass = 9;
constexpr int kBlocks =
    264;  // of a weight gradient, where it has the pixels: two for each of 132 multiprocessors

// filters[tap][channel of the block] in shared memory.
template <int kWidth>
__device__ void load_filters(
    const Conv2dGeom& g, int first_channel, int channels, const float* w, float* filters) {
  const int taps = g.r * g.s;
  for (int i = thread_x(); i < taps * channels; i += kThreads) {
    const int tap = i % taps, channel = i / taps;
    filters[tap * channels + channel] =
        first_channel + channel < g.c ? w[std::int64_t{first_channel + channel} * taps + tap] : 0.f;
  }
  __syncthreads();
}

struct TapPlace {
  std::int64_t at;
  bool inside;
};

// The taps of one output or input pixel: all values are asked for, then take(tap, values) is called for those
// inside, in order. place(r, s) says where a tap lies (int64 offset of its first channel) and whether it is inside.
template <int kWidth, int kSide, class T, class Place, class Take>
__device__ __forceinline__ void for_each_tap(const Conv2dGeom& g,
                                             const T* from,
                                             const Place& place,
                                             const Take& take) {
  if constexpr (kSide > 0) {
    Pack<T, kWidth> packs[kSide * kSide];
    bool inside[kSide * kSide];
#pragma unroll
    for (int t = 0; t < kSide * kSide; ++t) {
      const auto [at, is_inside] = place(t / kSide, t % kSide);
      inside[t] = is_inside;
      if (is_inside) packs[t] = *reinterpret_cast<const Pack<T, kWidth>*>(from + at);
    }
#pragma unroll
    for (int t = 0; t < kSide * kSide; ++t) {
      float values[kWidth];
      unpack(packs[t], values);
      if (inside[t]) take(t, values);
    }
  } else {
    for (int r = 0; r < g.r; ++r) {
      for (int s = 0; s < g.s; ++s) {
        const auto [at, is_inside] = place(r, s);
        if (!is_inside) continue;
        float values[kWidth];
        load(from + at, values);
        take(r * g.s + s, values);
      }
    }
  }
}

// The sums of output pixel `index`, in `sum`, which starts as given; `own` are the filters of channel c.
template <int kWidth, int kSide, int kStride, class T>
__device__ __forceinline__ void depthwise_sums(
    const Conv2dGeom& g, const T* x, const float* own, int channels, int index, int c, float (&sum)[kWidth]) {
  const int stride = kStride > 0 ? kStride : g.stride;
  const Pixel p = pixel_at(index, g.out_h(), g.out_w());
  const int top = p.row * stride - g.pad, left = p.column * stride - g.pad;
  const std::int64_t corner = ((std::int64_t{p.n} * g.h + top) * g.w + left) * g.c + c;
  for_each_tap<kWidth, kSide>(
      g,
      x,
      [&](int r, int s) {
        return TapPlace{corner + (r * g.w + s) * g.c,
                        static_cast<unsigned>(top + r) < static_cast<unsigned>(g.h) &&
                            static_cast<unsigned>(left + s) < static_cast<unsigned>(g.w)};
      },
      [&](int tap, const float(&values)[kWidth]) {
        const float* filter = own + tap * channels;
#pragma unroll
        for (int j = 0; j < kWidth; ++j) sum[j] = fmaf(values[j], filter[j], sum[j]);
      });
}

template <int kWidth, int kSide, int kStride, class T>
__global__ void __launch_bounds__(kThreads) depthwise_forward_kernel(
    Conv2dGeom g, ChannelTiles tiles, const T* x, const float* w, ConvEpilogue<T> epilogue, T* y) {
  follow();
  OFFRAMP_DYN_SHARED(float, filters);
  const int channels = tiles.lanes * kWidth, lane = thread_x() % tiles.lanes;
  load_filters<kWidth>(g, block_y() * channels, channels, w, filters);
  const int c = block_y() * channels + lane * kWidth;
  if (c >= g.c) return;
  const int pixels = g.n * g.out_h() * g.out_w();
  const int first = block_x() * tiles.rows() * kPixelsPerThread + thread_x() / tiles.lanes;
  float bias[kWidth] = {};
  if (epilogue.bias != nullptr) load_channels(epilogue.bias, c, g.c, bias);
  for (int i = 0; i < kPixelsPerThread; ++i) {
    const int index = first + i * tiles.rows();
    if (index >= pixels) return;
    float sum[kWidth];
#pragma unroll
    for (int j = 0; j < kWidth; ++j) sum[j] = bias[j];
    depthwise_sums<kWidth, kSide, kStride>(g, x, filters + lane * kWidth, channels, index, c, sum);
    const std::int64_t at = std::int64_t{index} * g.c + c;
    float added[kWidth] = {};
    if (epilogue.residual != nullptr) load(epilogue.residual + at, added);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      sum[j] += added[j];
      sum[j] = epilogue.relu && sum[j] < 0.f ? 0.f : sum[j];
    }
    store(y + at, sum, false);
  }
}

// With the statistics of the batch norm that follows.
template <int kSide, int kStride>
__global__ void __launch_bounds__(kThreads) depthwise_forward_moments_kernel(Conv2dGeom g,
                                                                             ChannelTiles tiles,
                                                                             const bf16* x,
                                                                             const float* w,
                                                                             const float* bias,
                                                                             ChannelMoments moments,
                                                                             unsigned* arrived,
                                                                             bf16* y) {
  follow();
  constexpr int kWidth = kVector<bf16>;
  OFFRAMP_DYN_SHARED(float, filters);
  OFFRAMP_SHARED(float, pivots, [32 * kWidth]);
  OFFRAMP_SHARED(float, sums, [kThreads * kWidth]);
  OFFRAMP_SHARED(double, totals, [2 * kThreads]);
  const int channels = tiles.lanes * kWidth, lane = thread_x() % tiles.lanes, row = thread_x() / tiles.lanes;
  load_filters<kWidth>(g, block_y() * channels, channels, w, filters);
  const int c = block_y() * channels + lane * kWidth;
  const int pixels = g.n * g.out_h() * g.out_w();
  const int first = block_x() * tiles.rows() * kPixelsPerThread + row;
  float sum[kWidth] = {}, squares[kWidth] = {}, pivot[kWidth] = {};
  for (int i = 0; i < kPixelsPerThread; ++i) {
    const int index = first + i * tiles.rows();
    const bool exists = index < pixels && c < g.c;
    float values[kWidth] = {};
    if (exists) {
      if (bias != nullptr) load_channels(bias, c, g.c, values);
      depthwise_sums<kWidth, kSide, kStride>(g, x, filters + lane * kWidth, channels, index, c, values);
      store(y + std::int64_t{index} * g.c + c, values, false);
    }
#pragma unroll
    for (int j = 0; j < kWidth; ++j)
      values[j] = to_float(static_cast<bf16>(values[j]));  // as they are stored
    if (i == 0) {                                          // the block's first row
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        if (row == 0) pivots[lane * kWidth + j] = values[j];
      }
      __syncthreads();
#pragma unroll
      for (int j = 0; j < kWidth; ++j) pivot[j] = pivots[lane * kWidth + j];
    }
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float d = exists ? values[j] - pivot[j] : 0.f;
      sum[j] += d;
      squares[j] = fmaf(d, d, squares[j]);
    }
  }
  sum_tile_rows(tiles, sum, sums);
  __syncthreads();
  sum_tile_rows(tiles, squares, sums);
  if (row == 0 && c < g.c) {
#pragma unroll
    for (int j = 0; j < kWidth; ++j) moments.leave(c + j, pivot[j], sum[j], squares[j]);
  }
  finish_moments<kThreads>(
      moments, block_y() * channels, channels, arrived + block_y() * moments.counters(), totals);
}

template <int kWidth, int kSide, int kStride, class T>
__global__ void __launch_bounds__(kThreads) depthwise_backward_input_kernel(
    Conv2dGeom g, ChannelTiles tiles, const T* dy, const float* w, T* dx, bool accumulate) {
  follow();
  OFFRAMP_DYN_SHARED(float, filters);
  const int channels = tiles.lanes * kWidth, lane = thread_x() % tiles.lanes;
  load_filters<kWidth>(g, block_y() * channels, channels, w, filters);
  const int c = block_y() * channels + lane * kWidth;
  if (c >= g.c) return;
  const int stride = kStride > 0 ? kStride : g.stride;
  const int pixels = g.n * g.h * g.w, out_h = g.out_h(), out_w = g.out_w();
  const int first = block_x() * tiles.rows() * kPixelsPerThread + thread_x() / tiles.lanes;
  for (int i = 0; i < kPixelsPerThread; ++i) {
    const int index = first + i * tiles.rows();
    if (index >= pixels) return;
    const Pixel p = pixel_at(index, g.h, g.w);
    const std::int64_t image = std::int64_t{p.n} * out_h * out_w;
    float sum[kWidth] = {};
    for_each_tap<kWidth, kSide>(
        g,
        dy,
        [&](int r, int s) {
          const int down = p.row + g.pad - r, right = p.column + g.pad - s;
          const int row = down / stride, column = right / stride;
          return TapPlace{(image + row * out_w + column) * g.c + c,
                          down >= 0 && right >= 0 && row * stride == down && column * stride == right &&
                              row < out_h && column < out_w};
        },
        [&](int tap, const float(&values)[kWidth]) {
          const float* filter = filters + tap * channels + lane * kWidth;
#pragma unroll
          for (int j = 0; j < kWidth; ++j) sum[j] = fmaf(values[j], filter[j], sum[j]);
        });
    store(dx + std::int64_t{index} * g.c + c, sum, accumulate);
  }
}

// Block z makes taps z * 9 .. z * 9 + 8; blocks x the parts of `part` pixels. parts: [part][c][tap], as dw.
template <int kWidth, int kSide, int kStride, class T>
__global__ void __launch_bounds__(kThreads) depthwise_backward_weight_kernel(Conv2dGeom g,
                                                                             ChannelTiles tiles,
                                                                             int part,
                                                                             const T* x,
                                                                             const T* dy,
                                                                             float* parts,
                                                                             unsigned* arrived,
                                                                             float* dw,
                                                                             bool accumulate) {
  follow();
  OFFRAMP_SHARED(float, sums, [kThreads * kWidth]);
  const int lane = thread_x() % tiles.lanes;
  const int c = (block_y() * tiles.lanes + lane) * kWidth;
  const int side = kSide > 0 ? kSide : g.s, stride = kStride > 0 ? kStride : g.stride;
  const int taps = g.r * g.s, first_tap = kSide > 0 ? 0 : block_z() * kTapsPerPass;
  const int pixels = g.n * g.out_h() * g.out_w();
  const int begin = block_x() * part, end = begin + part < pixels ? begin + part : pixels;
  float sum[kTapsPerPass][kWidth] = {};
  if (c < g.c) {
    for (int index = begin + thread_x() / tiles.lanes; index < end; index += tiles.rows()) {
      const Pixel p = pixel_at(index, g.out_h(), g.out_w());
      const int top = p.row * stride - g.pad, left = p.column * stride - g.pad;
      const T* const corner = x + ((std::int64_t{p.n} * g.h + top) * g.w + left) * g.c + c;
      float gradient[kWidth];
      load(dy + std::int64_t{index} * g.c + c, gradient);
      // All taps are asked for before the first is used; where their places are not known to the compiler, three at
      // a time, or the registers do not hold them.
      constexpr int kAtOnce = kSide > 0 ? kTapsPerPass : 3;
#pragma unroll
      for (int first = 0; first < kTapsPerPass; first += kAtOnce) {
        Pack<T, kWidth> packs[kAtOnce];
        bool inside[kAtOnce];
#pragma unroll
        for (int t = 0; t < kAtOnce; ++t) {
          const int tap = first_tap + first + t, r = tap / side, s = tap % side;
          inside[t] = (kSide > 0 || tap < taps) &&
                      static_cast<unsigned>(top + r) < static_cast<unsigned>(g.h) &&
                      static_cast<unsigned>(left + s) < static_cast<unsigned>(g.w);
          if (inside[t]) {
            packs[t] = *reinterpret_cast<const Pack<T, kWidth>*>(corner + (r * g.w + s) * g.c);
          } else if constexpr (kSide == 0) {
            packs[t] = {};  // never used; gcc does not see it in a loop that is not unrolled whole
          }
        }
#pragma unroll
        for (int t = 0; t < kAtOnce; ++t) {
          if (inside[t]) {
            float values[kWidth];
            unpack(packs[t], values);
#pragma unroll
            for (int j = 0; j < kWidth; ++j)
              sum[first + t][j] = fmaf(values[j], gradient[j], sum[first + t][j]);
          }
        }
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kTapsPerPass; ++t) {
    if (first_tap + t < taps) {  // the same for the whole block
      sum_tile_rows(tiles, sum[t], sums);
      if (thread_x() < tiles.lanes && c < g.c) {
#pragma unroll
        for (int j = 0; j < kWidth; ++j) {
          parts[(std::int64_t{block_x()} * g.c + c + j) * taps + first_tap + t] = sum[t][j];
        }
      }
      __syncthreads();
    }
  }
  if (!last_block(arrived + block_y() + block_z() * static_cast<int>(gridDim.y), gridDim.x)) return;
  const int first_channel = block_y() * tiles.lanes * kWidth;
  const int own_channels =
      g.c - first_channel < tiles.lanes * kWidth ? g.c - first_channel : tiles.lanes * kWidth;
  const int own_taps = taps - first_tap < kTapsPerPass ? taps - first_tap : kTapsPerPass;
  for (int i = thread_x(); i < own_channels * own_taps; i += kThreads) {
    const std::int64_t at = std::int64_t{first_channel + i / own_taps} * taps + first_tap + i % own_taps;
    float total = parts[at];
#pragma unroll 8
    for (int p = 1; p < static_cast<int>(gridDim.x); ++p) total += parts[p * g.w_size() + at];
    store(dw + at, total, accumulate);
  }
}

// Calls run(side, stride) with the compile-time forms that there are.
template <class Run>
void with_filter(const Conv2dGeom& g, const Run& run) {
  using None = std::integral_constant<int, 0>;
  using Three = std::integral_constant<int, 3>;
  if (g.r == 3 && g.s == 3 && g.stride == 1) return run(Three(), std::integral_constant<int, 1>());
  if (g.r == 3 && g.s == 3 && g.stride == 2) return run(Three(), std::integral_constant<int, 2>());
  run(None(), None());
}

template <int kWidth, class Kernel, class... Arguments>
void launch_pixels(
    Context& ctx, Kernel kernel, const Conv2dGeom& g, std::int64_t pixels, const Arguments&... arguments) {
  const ChannelTiles tiles = channel_tiles(g.c, kWidth);
  const dim3 grid(static_cast<unsigned>(ceil_div(pixels, tiles.rows() * kPixelsPerThread)),
                  static_cast<unsigned>(tiles.tiles));
  const auto shared = static_cast<std::size_t>(g.r * g.s * tiles.lanes * kWidth) * sizeof(float);
  launch(kernel, grid, kThreads, shared, ctx.stream(), g, tiles, arguments...);
}

template <int kWidth, class T>
void launch_weight(Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  const ChannelTiles tiles = channel_tiles(g.c, kWidth);
  const int pixels = g.n * g.out_h() * g.out_w(), passes = ceil_div(g.r * g.s, kTapsPerPass);
  // At least two pixels a thread.
  const int most = std::max(pixels / (2 * tiles.rows()), 1);
  const int part =
      std::max(ceil_div(pixels, std::clamp(ceil_div(kBlocks, tiles.tiles * passes), 1, most)), 1);
  const int parts = std::max(ceil_div(pixels, part), 1);
  auto* sums = static_cast<float*>(
      ctx.workspace(Context::kPartials,
                    static_cast<std::size_t>(parts) * static_cast<std::size_t>(g.w_size()) * sizeof(float)));
  with_filter(g, [&](auto side, auto stride) {
    launch(
        depthwise_backward_weight_kernel<kWidth, decltype(side)::value, decltype(stride)::value, T>,
        dim3(static_cast<unsigned>(parts), static_cast<unsigned>(tiles.tiles), static_cast<unsigned>(passes)),
        kThreads,
        0,
        ctx.stream(),
        g,
        tiles,
        part,
        x,
        dy,
        sums,
        ctx.arrivals(static_cast<std::size_t>(tiles.tiles * passes)),
        dw,
        write == Write::kAccumulate);
  });
}

}  // namespace

template <class T>
void depthwise_forward(
    Context& ctx, const Conv2dGeom& g, const T* x, const float* w, const ConvEpilogue<T>& epilogue, T* y) {
  const std::int64_t pixels = std::int64_t{g.n} * g.out_h() * g.out_w();
  with_filter(g, [&](auto side, auto stride) {
    constexpr int kSide = decltype(side)::value, kStride = decltype(stride)::value;
    if (channel_width<T>(g.c, x, y, epilogue.residual) > 1) {
      constexpr int kWidth = kVector<T>;
      launch_pixels<kWidth>(
          ctx, depthwise_forward_kernel<kWidth, kSide, kStride, T>, g, pixels, x, w, epilogue, y);
    } else {
      launch_pixels<1>(ctx, depthwise_forward_kernel<1, kSide, kStride, T>, g, pixels, x, w, epilogue, y);
    }
  });
}

bool depthwise_forward_moments(Context& ctx,
                               const Conv2dGeom& g,
                               const bf16* x,
                               const float* w,
                               const float* bias,
                               bf16* y,
                               const BatchNormGeom& norm,
                               const BatchNormTrain<bf16>& t) {
  constexpr int kWidth = kVector<bf16>;
  if (g.y_size() == 0 || channel_width<bf16>(g.c, x, y) != kWidth) return false;
  const ChannelTiles tiles = channel_tiles(g.c, kWidth);
  const ChannelMoments moments = channel_moments(ctx, norm, t, tiles.rows() * kPixelsPerThread);
  unsigned* const arrived = ctx.arrivals(static_cast<std::size_t>(tiles.tiles * moments.counters()));
  with_filter(g, [&](auto side, auto stride) {
    launch_pixels<kWidth>(ctx,
                          depthwise_forward_moments_kernel<decltype(side)::value, decltype(stride)::value>,
                          g,
                          norm.rows,
                          x,
                          w,
                          bias,
                          moments,
                          arrived,
                          y);
  });
  return true;
}

template <class T>
void depthwise_backward_input(
    Context& ctx, const Conv2dGeom& g, const T* dy, const float* w, T* dx, Write write) {
  const std::int64_t pixels = std::int64_t{g.n} * g.h * g.w;
  const bool accumulate = write == Write::kAccumulate;
  with_filter(g, [&](auto side, auto stride) {
    constexpr int kSide = decltype(side)::value, kStride = decltype(stride)::value;
    if (channel_width<T>(g.c, dy, dx) > 1) {
      constexpr int kWidth = kVector<T>;
      launch_pixels<kWidth>(
          ctx, depthwise_backward_input_kernel<kWidth, kSide, kStride, T>, g, pixels, dy, w, dx, accumulate);
    } else {
      launch_pixels<1>(
          ctx, depthwise_backward_input_kernel<1, kSide, kStride, T>, g, pixels, dy, w, dx, accumulate);
    }
  });
}

template <class T>
void depthwise_backward_weight(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  // Four channels, not eight in bf16: nine taps of eight would not fit the registers.
  if (g.c % 4 == 0 && aligned(x) && aligned(dy)) {
    launch_weight<4>(ctx, g, x, dy, dw, write);
  } else {
    launch_weight<1>(ctx, g, x, dy, dw, write);
  }
}

#define OFFRAMP_INSTANTIATE(T)                                                                            \
  template void depthwise_forward(                                                                        \
      Context&, const Conv2dGeom&, const T*, const float*, const ConvEpilogue<T>&, T*);                   \
  template void depthwise_backward_input(Context&, const Conv2dGeom&, const T*, const float*, T*, Write); \
  template void depthwise_backward_weight(Context&, const Conv2dGeom&, const T*, const T*, float*, Write);
OFFRAMP_INSTANTIATE(float)
OFFRAMP_INSTANTIATE(bf16)
#undef OFFRAMP_INSTANTIATE

}  // namespace offramp::cuda
