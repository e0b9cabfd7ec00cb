// Batch normalisation, forward. Training reads x twice (statistics, application) and writes y once, in two
// launches; evaluation reads x once. Statistics are sums of x - pivot and its square, pivot the channel's
// value in the first row, so that a large mean costs no digits; parts of the rows are summed in float and
// added in double.
#include "kernels/batch_norm.h"

#include "kernels/cuda/batch_norm_apply.h"
#include "kernels/cuda/batch_norm_tiles.h"
#include "kernels/cuda/channel_moments.h"

namespace offramp::cuda {
namespace {

constexpr int kRowsPerThread = 8;

constexpr int kRowsInFlight = 4;  // that a thread asks for before it adds the first

template <int kWidth, class T>
__global__ void __launch_bounds__(kTileRowsThreads) statistics_kernel(BatchNormGeom g,
                                                                      std::int64_t part,
                                                                      ChannelTiles tiles,
                                                                      BatchNormTrain<T> t,
                                                                      float* sums,
                                                                      unsigned* arrived) {
  follow();
  const int lane = thread_x() % tiles.lanes, row = thread_x() / tiles.lanes;
  const int c = (block_y() * tiles.lanes + lane) * kWidth;
  const std::int64_t begin = block_x() * part, end = begin + part < g.rows ? begin + part : g.rows;
  float sum[kWidth] = {}, squares[kWidth] = {};
  if (c < g.channels) {
    float pivot[kWidth];
    load(t.x + c, pivot);
    const std::int64_t step = tiles.rows();
    const auto add = [&](const float(&values)[kWidth]) {
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        const float d = values[j] - pivot[j];
        sum[j] += d;
        squares[j] = fmaf(d, d, squares[j]);
      }
    };
    std::int64_t r = begin + row;
    for (; r + (kRowsInFlight - 1) * step < end; r += kRowsInFlight * step) {
      Pack<T, kWidth> packs[kRowsInFlight];
#pragma unroll
      for (int i = 0; i < kRowsInFlight; ++i) {
        packs[i] = *reinterpret_cast<const Pack<T, kWidth>*>(t.x + (r + i * step) * g.channels + c);
      }
#pragma unroll
      for (int i = 0; i < kRowsInFlight; ++i) {
        float values[kWidth];
        unpack(packs[i], values);
        add(values);
      }
    }
    for (; r < end; r += step) {
      float values[kWidth];
      load(t.x + r * g.channels + c, values);
      add(values);
    }
  }
  sum_over_parts(tiles, g.channels, sum, squares, sums, arrived, [&](int channel, double one, double two) {
    const double rows = static_cast<double>(g.rows), shifted = one / rows;
    finish_statistics(
        g, t, channel, static_cast<double>(to_float(t.x[channel])) + shifted, two / rows - shifted * shifted);
  });
}

__device__ float inv_std_of(float var, float eps) {
  return static_cast<float>(1 / sqrt(static_cast<double>(var) + static_cast<double>(eps)));
}

template <int kWidth, class T>
struct Apply {
  const T* x;
  const float* gamma;
  const float* beta;
  const float* mean;
  const float* spread;  // inverse deviation, or (evaluation) the variance
  bool spread_is_variance;
  const T* residual;
  T* y;
};

template <int kWidth, class T>
__global__ void __launch_bounds__(kTileRowsThreads)
    apply_kernel(BatchNormGeom g, ChannelTiles tiles, Apply<kWidth, T> a) {
  follow();
  const int lane = thread_x() % tiles.lanes;
  const int c = (block_y() * tiles.lanes + lane) * kWidth;
  if (c >= g.channels) return;
  float gamma[kWidth], beta[kWidth], mean[kWidth], spread[kWidth];
  load_channels(a.gamma, c, g.channels, gamma);
  load_channels(a.beta, c, g.channels, beta);
  load_channels(a.mean, c, g.channels, mean);
  load_channels(a.spread, c, g.channels, spread);
  float scale[kWidth], shift[kWidth];
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    const float inv_std = a.spread_is_variance ? inv_std_of(spread[j], g.eps) : spread[j];
    const ScaleShift s = scale_shift(gamma[j], beta[j], mean[j], inv_std);
    scale[j] = s.scale;
    shift[j] = s.shift;
  }
  const std::int64_t first =
      std::int64_t{block_x()} * tiles.rows() * kRowsPerThread + thread_x() / tiles.lanes;
  for (int i = 0; i < kRowsPerThread; ++i) {
    const std::int64_t r = first + i * tiles.rows();
    if (r >= g.rows) return;
    float values[kWidth], added[kWidth] = {};
    load(a.x + r * g.channels + c, values);
    if (a.residual != nullptr) load(a.residual + r * g.channels + c, added);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      float z = fmaf(scale[j], values[j], shift[j]);
      if (a.residual != nullptr) z += added[j];
      values[j] = g.relu && z < 0.f ? 0.f : z;
    }
    store(a.y + r * g.channels + c, values, false);
  }
}

template <int kWidth, class T>
void apply(Context& ctx, const BatchNormGeom& g, const Apply<kWidth, T>& a) {
  const ChannelTiles tiles = channel_tiles(g.channels, kWidth);
  const dim3 grid(static_cast<unsigned>(ceil_div(g.rows, tiles.rows() * kRowsPerThread)),
                  static_cast<unsigned>(tiles.tiles));
  launch(apply_kernel<kWidth, T>, grid, kTileRowsThreads, 0, ctx.stream(), g, tiles, a);
}

template <int kWidth, class T>
void statistics(Context& ctx, const BatchNormGeom& g, const BatchNormTrain<T>& t) {
  const ChannelTiles tiles = channel_tiles(g.channels, kWidth);
  const std::int64_t part = batch_norm_part(g.rows);
  const int parts = static_cast<int>(ceil_div(g.rows, part));
  float* sums = batch_norm_sums(ctx, parts, g.channels);
  const dim3 grid(static_cast<unsigned>(parts), static_cast<unsigned>(tiles.tiles));
  launch(statistics_kernel<kWidth, T>,
         grid,
         kTileRowsThreads,
         0,
         ctx.stream(),
         g,
         part,
         tiles,
         t,
         sums,
         ctx.arrivals(static_cast<std::size_t>(tiles.tiles)));
}

template <int kWidth, class T>
Apply<kWidth, T> with_batch_statistics(const BatchNormTrain<T>& t) {
  return {t.x, t.gamma, t.beta, t.saved_mean, t.saved_inv_std, false, t.residual, t.y};
}

__global__ void __launch_bounds__(256)
    inv_std_kernel(int channels, float eps, const float* var, float* inv_std) {
  follow();
  const std::int64_t c = grid_thread();
  if (c < channels) inv_std[c] = inv_std_of(var[c], eps);
}

__global__ void __launch_bounds__(256) combine_kernel(BatchNormShards shards) {
  follow();
  const std::int64_t c = grid_thread();
  if (c < shards.channels) combine_channel(shards, static_cast<int>(c));
}

}  // namespace

template <class T>
void batch_norm_apply(Context& ctx, const BatchNormGeom& g, const BatchNormTrain<T>& t) {
  if (g.rows == 0 || g.channels == 0 || t.y == nullptr) return;
  if (channel_width<T>(g.channels, t.x, t.residual, t.y) > 1) {
    apply(ctx, g, with_batch_statistics<kVector<T>>(t));
  } else {
    apply(ctx, g, with_batch_statistics<1>(t));
  }
}

template <class T>
void batch_norm_train(Context& ctx, const BatchNormGeom& g, const BatchNormTrain<T>& t) {
  if (g.rows == 0 || g.channels == 0) return;
  if (channel_width<T>(g.channels, t.x, t.residual, t.y) > 1) {
    statistics<kVector<T>>(ctx, g, t);
  } else {
    statistics<1>(ctx, g, t);
  }
  batch_norm_apply(ctx, g, t);
}

template <class T>
void batch_norm_eval(Context& ctx, const BatchNormGeom& g, const BatchNormEval<T>& e) {
  if (g.rows == 0 || g.channels == 0) return;
  const bool is_var = e.inv_std == nullptr;
  const float* spread = is_var ? e.running_var : e.inv_std;
  if (channel_width<T>(g.channels, e.x, e.residual, e.y) > 1) {
    apply(
        ctx, g, Apply<kVector<T>, T>{e.x, e.gamma, e.beta, e.running_mean, spread, is_var, e.residual, e.y});
  } else {
    apply(ctx, g, Apply<1, T>{e.x, e.gamma, e.beta, e.running_mean, spread, is_var, e.residual, e.y});
  }
}

void batch_norm_inv_std(Context& ctx, int channels, float eps, const float* var, float* inv_std) {
  if (channels == 0) return;
  launch(inv_std_kernel, ceil_div(channels, 256), 256, 0, ctx.stream(), channels, eps, var, inv_std);
}

void batch_norm_combine(Context& ctx, const BatchNormShards& shards) {
  if (shards.channels == 0) return;
  launch(combine_kernel, ceil_div(shards.channels, 256), 256, 0, ctx.stream(), shards);
}

template void batch_norm_apply(Context&, const BatchNormGeom&, const BatchNormTrain<bf16>&);
template void batch_norm_train(Context&, const BatchNormGeom&, const BatchNormTrain<float>&);
template void batch_norm_train(Context&, const BatchNormGeom&, const BatchNormTrain<bf16>&);
template void batch_norm_eval(Context&, const BatchNormGeom&, const BatchNormEval<float>&);
template void batch_norm_eval(Context&, const BatchNormGeom&, const BatchNormEval<bf16>&);

}  // namespace offramp::cuda
