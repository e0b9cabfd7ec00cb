// Pools. Forward: a thread makes one output pixel of neighbouring channels from its window. Backward: a
// thread gathers what the windows over one input pixel send to it, in a fixed order, so overlapping windows
// need no atomics. Every tensor is read once from memory (windows overlap in the cache).
#include "kernels/pool.h"

#include <cmath>

#include "kernels/cuda/channel_tiles.h"
#include "kernels/cuda/context.h"
#include "kernels/reduce.h"

namespace offramp::cuda {
namespace {

constexpr int kPixelsPerThread = 4;

enum class Pooling { kMax, kAverage, kExit };

// What a forward writes; unused pointers are null.
template <class T>
struct Forward {
  const T* x;
  const float* alpha;
  T* y_stored;     // of the maximum pool
  float* y_float;  // of the others
  float* max_minus_avg;
  std::uint8_t* index;
};

template <int kWidth>
struct Window {
  float max[kWidth], sum[kWidth];
  int place[kWidth];
};

template <int kWidth, class T>
__device__ Window<kWidth> read_window(const PoolGeom& g, const Pixel& p, int c, const T* x) {
  Window<kWidth> w{};
  for (int r = 0; r < g.k; ++r) {
    for (int s = 0; s < g.k; ++s) {
      const std::int64_t row = std::int64_t{p.n} * g.h + p.row * g.stride + r;
      float values[kWidth];
      load(x + (row * g.w + p.column * g.stride + s) * g.c + c, values);
      const int place = r * g.k + s;
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        const bool better = place == 0 || values[j] > w.max[j] || (isnan(values[j]) && !isnan(w.max[j]));
        w.max[j] = better ? values[j] : w.max[j];
        w.place[j] = better ? place : w.place[j];
        w.sum[j] = place == 0 ? values[j] : w.sum[j] + values[j];
      }
    }
  }
  return w;
}

template <Pooling kPooling, int kWidth, class T>
__global__ void __launch_bounds__(kTileRowsThreads)
    pool_forward_kernel(PoolGeom g, ChannelTiles tiles, Forward<T> f) {
  follow();
  const int c = (block_y() * tiles.lanes + thread_x() % tiles.lanes) * kWidth;
  if (c >= g.c) return;
  const int pixels = g.n * g.out_h() * g.out_w();
  const int first = block_x() * tiles.rows() * kPixelsPerThread + thread_x() / tiles.lanes;
  const float area = static_cast<float>(g.k * g.k);
  const float alpha = kPooling == Pooling::kExit ? *f.alpha : 0.f;
  for (int i = 0; i < kPixelsPerThread; ++i) {
    const int pixel = first + i * tiles.rows();
    if (pixel >= pixels) return;
    const Window<kWidth> w = read_window<kWidth>(g, pixel_at(pixel, g.out_h(), g.out_w()), c, f.x);
    const std::int64_t at = std::int64_t{pixel} * g.c + c;
    if (f.index != nullptr) {
#pragma unroll
      for (int j = 0; j < kWidth; ++j) f.index[at + j] = static_cast<std::uint8_t>(w.place[j]);
    }
    if constexpr (kPooling == Pooling::kMax) {
      store(f.y_stored + at, w.max, false);
    } else {
      float y[kWidth], difference[kWidth];
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        const float average = w.sum[j] / area;
        y[j] = kPooling == Pooling::kAverage ? average : alpha * w.max[j] + (1.f - alpha) * average;
        difference[j] = w.max[j] - average;
      }
      store(f.y_float + at, y, false);
      if (f.max_minus_avg != nullptr) store(f.max_minus_avg + at, difference, false);
    }
  }
}

// What an output sends to a place of its window: max_share to the place of the maximum, avg_share to each.
struct Shares {
  float max_share, avg_share;
};

template <Pooling kPooling, int kWidth, class T, class DY>
__global__ void __launch_bounds__(kTileRowsThreads) pool_backward_kernel(PoolGeom g,
                                                                         ChannelTiles tiles,
                                                                         const DY* dy,
                                                                         const float* alpha,
                                                                         const std::uint8_t* index,
                                                                         T* dx,
                                                                         bool accumulate) {
  follow();
  const int c = (block_y() * tiles.lanes + thread_x() % tiles.lanes) * kWidth;
  if (c >= g.c) return;
  const int pixels = g.n * g.h * g.w, out_h = g.out_h(), out_w = g.out_w();
  const int first = block_x() * tiles.rows() * kPixelsPerThread + thread_x() / tiles.lanes;
  const float area = static_cast<float>(g.k * g.k);
  Shares shares{1.f, 0.f};
  if constexpr (kPooling == Pooling::kAverage) shares = {0.f, 1.f / area};
  if constexpr (kPooling == Pooling::kExit) shares = {*alpha, (1.f - *alpha) / area};
  for (int i = 0; i < kPixelsPerThread; ++i) {
    const int pixel = first + i * tiles.rows();
    if (pixel >= pixels) return;
    const Pixel p = pixel_at(pixel, g.h, g.w);
    // Windows that reach row p.row begin at rows p.row - k + 1 .. p.row.
    const int first_row = p.row < g.k ? 0 : (p.row - g.k) / g.stride + 1;
    const int first_column = p.column < g.k ? 0 : (p.column - g.k) / g.stride + 1;
    float sum[kWidth] = {};
    for (int row = first_row; row < out_h && row * g.stride <= p.row; ++row) {
      for (int column = first_column; column < out_w && column * g.stride <= p.column; ++column) {
        const std::int64_t at = ((std::int64_t{p.n} * out_h + row) * out_w + column) * g.c + c;
        const int place = (p.row - row * g.stride) * g.k + p.column - column * g.stride;
        float gradient[kWidth];
        load(dy + at, gradient);
#pragma unroll
        for (int j = 0; j < kWidth; ++j) {
          float share = shares.avg_share;
          if constexpr (kPooling != Pooling::kAverage)
            share += index[at + j] == place ? shares.max_share : 0.f;
          sum[j] = fmaf(share, gradient[j], sum[j]);
        }
      }
    }
    store(dx + std::int64_t{pixel} * g.c + c, sum, accumulate);
  }
}

template <int kWidth, class Kernel, class... Arguments>
void launch_pixels(
    Context& ctx, Kernel kernel, const PoolGeom& g, std::int64_t pixels, const Arguments&... arguments) {
  const ChannelTiles tiles = channel_tiles(g.c, kWidth);
  const dim3 grid(static_cast<unsigned>(ceil_div(pixels, tiles.rows() * kPixelsPerThread)),
                  static_cast<unsigned>(tiles.tiles));
  launch(kernel, grid, kTileRowsThreads, 0, ctx.stream(), g, tiles, arguments...);
}

template <Pooling kPooling, class T>
void forward(Context& ctx, const PoolGeom& g, const Forward<T>& f) {
  const std::int64_t pixels = std::int64_t{g.n} * g.out_h() * g.out_w();
  if (g.y_size() == 0) return;
  if (channel_width<T>(g.c, f.x, f.y_stored, f.y_float, f.max_minus_avg) > 1) {
    launch_pixels<kVector<T>>(ctx, pool_forward_kernel<kPooling, kVector<T>, T>, g, pixels, f);
  } else {
    launch_pixels<1>(ctx, pool_forward_kernel<kPooling, 1, T>, g, pixels, f);
  }
}

template <Pooling kPooling, class T, class DY>
void backward(Context& ctx,
              const PoolGeom& g,
              const DY* dy,
              const float* alpha,
              const std::uint8_t* index,
              T* dx,
              Write write) {
  const std::int64_t pixels = std::int64_t{g.n} * g.h * g.w;
  if (g.x_size() == 0) return;
  const bool accumulate = write == Write::kAccumulate;
  if (channel_width<T>(g.c, dy, dx) > 1) {
    launch_pixels<kVector<T>>(
        ctx, pool_backward_kernel<kPooling, kVector<T>, T, DY>, g, pixels, dy, alpha, index, dx, accumulate);
  } else {
    launch_pixels<1>(
        ctx, pool_backward_kernel<kPooling, 1, T, DY>, g, pixels, dy, alpha, index, dx, accumulate);
  }
}

constexpr const float* kNoAlpha = nullptr;
constexpr const std::uint8_t* kNoIndex = nullptr;

}  // namespace

template <class T>
void max_pool_forward(Context& ctx, const PoolGeom& g, const T* x, T* y, std::uint8_t* index) {
  forward<Pooling::kMax>(ctx, g, Forward<T>{x, nullptr, y, nullptr, nullptr, index});
}
template <class T>
void max_pool_backward(
    Context& ctx, const PoolGeom& g, const T* dy, const std::uint8_t* index, T* dx, Write write) {
  backward<Pooling::kMax>(ctx, g, dy, kNoAlpha, index, dx, write);
}
template <class T>
void avg_pool_forward(Context& ctx, const PoolGeom& g, const T* x, float* y) {
  forward<Pooling::kAverage>(ctx, g, Forward<T>{x, nullptr, nullptr, y, nullptr, nullptr});
}
template <class T>
void avg_pool_backward(Context& ctx, const PoolGeom& g, const float* dy, T* dx, Write write) {
  backward<Pooling::kAverage>(ctx, g, dy, kNoAlpha, kNoIndex, dx, write);
}
template <class T>
void exit_pool_forward(Context& ctx,
                       const PoolGeom& g,
                       const T* x,
                       const float* alpha,
                       float* y,
                       float* max_minus_avg,
                       std::uint8_t* index) {
  forward<Pooling::kExit>(ctx, g, Forward<T>{x, alpha, nullptr, y, max_minus_avg, index});
}
template <class T>
void exit_pool_backward_input(Context& ctx,
                              const PoolGeom& g,
                              const float* dy,
                              const float* alpha,
                              const std::uint8_t* index,
                              T* dx,
                              Write write) {
  backward<Pooling::kExit>(ctx, g, dy, alpha, index, dx, write);
}

void exit_pool_backward_alpha(Context& ctx,
                              const PoolGeom& g,
                              const float* dy,
                              const float* max_minus_avg,
                              float* dalpha,
                              Write write) {
  if (write == Write::kOverwrite) return dot(ctx, g.y_size(), dy, max_minus_avg, dalpha);
  auto* sum = static_cast<float*>(ctx.workspace(Context::kCoefficients, sizeof(float)));
  dot(ctx, g.y_size(), dy, max_minus_avg, sum);
  sum_all(ctx, 1, sum, dalpha, Write::kAccumulate);
}

#define OFFRAMP_INSTANTIATE(T)                                                                          \
  template void max_pool_forward(Context&, const PoolGeom&, const T*, T*, std::uint8_t*);               \
  template void max_pool_backward(Context&, const PoolGeom&, const T*, const std::uint8_t*, T*, Write); \
  template void avg_pool_forward(Context&, const PoolGeom&, const T*, float*);                          \
  template void avg_pool_backward(Context&, const PoolGeom&, const float*, T*, Write);                  \
  template void exit_pool_forward(                                                                      \
      Context&, const PoolGeom&, const T*, const float*, float*, float*, std::uint8_t*);                \
  template void exit_pool_backward_input(                                                               \
      Context&, const PoolGeom&, const float*, const float*, const std::uint8_t*, T*, Write);
OFFRAMP_INSTANTIATE(float)
OFFRAMP_INSTANTIATE(bf16)
#undef OFFRAMP_INSTANTIATE

}  // namespace offramp::cuda
