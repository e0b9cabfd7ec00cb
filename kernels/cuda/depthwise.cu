// Depthwise convolution. A thread makes one pixel of kWidth neighbouring channels, one 16-byte access a tap;
// the filters of the block's channels lie transposed in shared memory. Neighbouring threads read neighbouring
// channels, neighbouring pixels find their taps in the cache: x is read from memory about once.
// Weight gradient: a block sums kPixels pixels for up to nine taps in registers; the parts are added in
// order.
#include "kernels/cuda/depthwise.h"

#include <algorithm>

#include "kernels/cuda/channel_tiles.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/parts.h"

namespace offramp::cuda {
namespace {

constexpr int kThreads = kTileRowsThreads, kPixelsPerThread = 8, kTapsPerPass = 9, kWeightPart = 512;

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

template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads) depthwise_forward_kernel(
    Conv2dGeom g, ChannelTiles tiles, const T* x, const float* w, ConvEpilogue<T> epilogue, T* y) {
  OFFRAMP_DYN_SHARED(float, filters);
  const int channels = tiles.lanes * kWidth, lane = thread_x() % tiles.lanes;
  load_filters<kWidth>(g, block_y() * channels, channels, w, filters);
  const int c = block_y() * channels + lane * kWidth;
  if (c >= g.c) return;
  const int pixels = g.n * g.out_h() * g.out_w();
  const int first = block_x() * tiles.rows() * kPixelsPerThread + thread_x() / tiles.lanes;
  for (int i = 0; i < kPixelsPerThread; ++i) {
    const int index = first + i * tiles.rows();
    if (index >= pixels) return;
    const Pixel p = pixel_at(index, g.out_h(), g.out_w());
    float sum[kWidth];
#pragma unroll
    for (int j = 0; j < kWidth; ++j) sum[j] = epilogue.bias != nullptr ? epilogue.bias[c + j] : 0.f;
    for (int r = 0; r < g.r; ++r) {
      const int row = p.row * g.stride - g.pad + r;
      if (row < 0 || row >= g.h) continue;
      for (int s = 0; s < g.s; ++s) {
        const int column = p.column * g.stride - g.pad + s;
        if (column < 0 || column >= g.w) continue;
        float values[kWidth];
        load(x + ((std::int64_t{p.n} * g.h + row) * g.w + column) * g.c + c, values);
        const float* filter = filters + (r * g.s + s) * channels + lane * kWidth;
#pragma unroll
        for (int j = 0; j < kWidth; ++j) sum[j] = fmaf(values[j], filter[j], sum[j]);
      }
    }
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

template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads) depthwise_backward_input_kernel(
    Conv2dGeom g, ChannelTiles tiles, const T* dy, const float* w, T* dx, bool accumulate) {
  OFFRAMP_DYN_SHARED(float, filters);
  const int channels = tiles.lanes * kWidth, lane = thread_x() % tiles.lanes;
  load_filters<kWidth>(g, block_y() * channels, channels, w, filters);
  const int c = block_y() * channels + lane * kWidth;
  if (c >= g.c) return;
  const int pixels = g.n * g.h * g.w, out_h = g.out_h(), out_w = g.out_w();
  const int first = block_x() * tiles.rows() * kPixelsPerThread + thread_x() / tiles.lanes;
  for (int i = 0; i < kPixelsPerThread; ++i) {
    const int index = first + i * tiles.rows();
    if (index >= pixels) return;
    const Pixel p = pixel_at(index, g.h, g.w);
    float sum[kWidth] = {};
    for (int r = 0; r < g.r; ++r) {
      const int down = p.row + g.pad - r, row = down / g.stride;
      if (down < 0 || row * g.stride != down || row >= out_h) continue;
      for (int s = 0; s < g.s; ++s) {
        const int right = p.column + g.pad - s, column = right / g.stride;
        if (right < 0 || column * g.stride != right || column >= out_w) continue;
        float values[kWidth];
        load(dy + ((std::int64_t{p.n} * out_h + row) * out_w + column) * g.c + c, values);
        const float* filter = filters + (r * g.s + s) * channels + lane * kWidth;
#pragma unroll
        for (int j = 0; j < kWidth; ++j) sum[j] = fmaf(values[j], filter[j], sum[j]);
      }
    }
    store(dx + std::int64_t{index} * g.c + c, sum, accumulate);
  }
}

// Block z makes taps z * 9 .. z * 9 + 8. parts: [part][c][tap], as dw.
template <int kWidth, class T>
__global__ void __launch_bounds__(kThreads) depthwise_backward_weight_kernel(
    Conv2dGeom g, ChannelTiles tiles, const T* x, const T* dy, float* parts) {
  OFFRAMP_SHARED(float, sums, [kThreads * kWidth]);
  const int lane = thread_x() % tiles.lanes;
  const int c = (block_y() * tiles.lanes + lane) * kWidth;
  const int taps = g.r * g.s, first_tap = block_z() * kTapsPerPass;
  const int pixels = g.n * g.out_h() * g.out_w();
  const int begin = block_x() * kWeightPart,
            end = begin + kWeightPart < pixels ? begin + kWeightPart : pixels;
  float sum[kTapsPerPass][kWidth] = {};
  if (c < g.c) {
    for (int index = begin + thread_x() / tiles.lanes; index < end; index += tiles.rows()) {
      const Pixel p = pixel_at(index, g.out_h(), g.out_w());
      float gradient[kWidth];
      load(dy + std::int64_t{index} * g.c + c, gradient);
#pragma unroll
      for (int t = 0; t < kTapsPerPass; ++t) {
        const int tap = first_tap + t;
        const int row = p.row * g.stride - g.pad + tap / g.s,
                  column = p.column * g.stride - g.pad + tap % g.s;
        if (tap >= taps || row < 0 || row >= g.h || column < 0 || column >= g.w) continue;
        float values[kWidth];
        load(x + ((std::int64_t{p.n} * g.h + row) * g.w + column) * g.c + c, values);
#pragma unroll
        for (int j = 0; j < kWidth; ++j) sum[t][j] = fmaf(values[j], gradient[j], sum[t][j]);
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
  const int pixels = g.n * g.out_h() * g.out_w();
  const int parts = std::max(ceil_div(pixels, kWeightPart), 1);
  auto* sums = static_cast<float*>(
      ctx.workspace(Context::kPartials,
                    static_cast<std::size_t>(parts) * static_cast<std::size_t>(g.w_size()) * sizeof(float)));
  const dim3 grid(static_cast<unsigned>(parts),
                  static_cast<unsigned>(tiles.tiles),
                  static_cast<unsigned>(ceil_div(g.r * g.s, kTapsPerPass)));
  launch(depthwise_backward_weight_kernel<kWidth, T>, grid, kThreads, 0, ctx.stream(), g, tiles, x, dy, sums);
  add_parts(ctx, g.w_size(), parts, sums, dw, write);
}

}  // namespace

template <class T>
void depthwise_forward(
    Context& ctx, const Conv2dGeom& g, const T* x, const float* w, const ConvEpilogue<T>& epilogue, T* y) {
  const std::int64_t pixels = std::int64_t{g.n} * g.out_h() * g.out_w();
  if (channel_width<T>(g.c, x, y, epilogue.residual) > 1) {
    launch_pixels<kVector<T>>(ctx, depthwise_forward_kernel<kVector<T>, T>, g, pixels, x, w, epilogue, y);
  } else {
    launch_pixels<1>(ctx, depthwise_forward_kernel<1, T>, g, pixels, x, w, epilogue, y);
  }
}

template <class T>
void depthwise_backward_input(
    Context& ctx, const Conv2dGeom& g, const T* dy, const float* w, T* dx, Write write) {
  const std::int64_t pixels = std::int64_t{g.n} * g.h * g.w;
  const bool accumulate = write == Write::kAccumulate;
  if (channel_width<T>(g.c, dy, dx) > 1) {
    launch_pixels<kVector<T>>(
        ctx, depthwise_backward_input_kernel<kVector<T>, T>, g, pixels, dy, w, dx, accumulate);
  } else {
    launch_pixels<1>(ctx, depthwise_backward_input_kernel<1, T>, g, pixels, dy, w, dx, accumulate);
  }
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
