// Batch normalisation, backward. dz = dy * mask; xhat = (x - mean) * inv_std; dbeta = sum dz, dgamma = sum
// dz * xhat; dx = gamma * inv_std * (dz - dbeta / rows - xhat * dgamma / rows) with batch statistics, and
// gamma * inv_std * dz without. Two passes over dy and x (one where no sum is needed), dresidual = dz in the
// second.
#include "kernels/assert.h"
#include "kernels/batch_norm.h"
#include "kernels/cuda/batch_norm_tiles.h"

namespace offramp::cuda {
namespace {

constexpr int kRowsPerThread = 8;

// A thread's channels: what turns (dy, x) into dz and xhat.
template <int kWidth>
struct Channels {
  float scale[kWidth], shift[kWidth], mean[kWidth], inv_std[kWidth];

  template <class T>
  __device__ Channels(const BatchNormBackward<T>& b, int c, int channels) {
    float gamma[kWidth], beta[kWidth];
    load_channels(b.gamma, c, channels, gamma);
    load_channels(b.beta, c, channels, beta);
    load_channels(b.mean, c, channels, mean);
    load_channels(b.inv_std, c, channels, inv_std);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const ScaleShift s = scale_shift(gamma[j], beta[j], mean[j], inv_std[j]);
      scale[j] = s.scale;
      shift[j] = s.shift;
    }
  }
  // dz in place of dy; x is what was normalised.
  template <class T>
  __device__ void mask(const BatchNormBackward<T>& b,
                       bool relu,
                       std::int64_t at,
                       const float (&x)[kWidth],
                       float (&dy)[kWidth]) const {
    if (!relu) return;
    float y[kWidth];
    if (b.y != nullptr) {
      load(b.y + at, y);
    } else {
#pragma unroll
      for (int j = 0; j < kWidth; ++j) y[j] = fmaf(scale[j], x[j], shift[j]);
    }
#pragma unroll
    for (int j = 0; j < kWidth; ++j) dy[j] = y[j] > 0.f ? dy[j] : 0.f;
  }
};

// means: [2][channels], the means of dz and dz * xhat, for dx.
template <class T>
__device__ void finish_gradients(
    const BatchNormGeom& g, const BatchNormBackward<T>& b, float* means, int c, double sum, double product) {
  const double rows = static_cast<double>(g.rows);
  means[c] = static_cast<float>(sum / rows);
  means[g.channels + c] = static_cast<float>(product / rows);
  if (b.dgamma == nullptr) return;
  const bool accumulate = b.dparam_write == Write::kAccumulate;
  store(b.dbeta + c, static_cast<float>(sum), accumulate);
  store(b.dgamma + c, static_cast<float>(product), accumulate);
}

constexpr int kRowsInFlight = 2;  // of x and of dy that a thread asks for before it adds the first

template <int kWidth, class T>
__global__ void __launch_bounds__(kTileRowsThreads) gradient_sums_kernel(BatchNormGeom g,
                                                                         std::int64_t part,
                                                                         ChannelTiles tiles,
                                                                         BatchNormBackward<T> b,
                                                                         float* sums,
                                                                         unsigned* arrived,
                                                                         float* means) {
  follow();
  const int lane = thread_x() % tiles.lanes, row = thread_x() / tiles.lanes;
  const int c = (block_y() * tiles.lanes + lane) * kWidth;
  const std::int64_t begin = block_x() * part, end = begin + part < g.rows ? begin + part : g.rows;
  float sum[kWidth] = {}, product[kWidth] = {};
  if (c < g.channels) {
    const Channels<kWidth> channels(b, c, g.channels);
    const std::int64_t step = tiles.rows();
    const auto add = [&](std::int64_t at, const float(&x)[kWidth], float(&dz)[kWidth]) {
      channels.mask(b, g.relu, at, x, dz);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) {
        sum[j] += dz[j];
        product[j] = fmaf(dz[j], (x[j] - channels.mean[j]) * channels.inv_std[j], product[j]);
      }
    };
    std::int64_t r = begin + row;
    for (; r + (kRowsInFlight - 1) * step < end; r += kRowsInFlight * step) {
      Pack<T, kWidth> packs_x[kRowsInFlight], packs_dy[kRowsInFlight];
#pragma unroll
      for (int i = 0; i < kRowsInFlight; ++i) {
        const std::int64_t at = (r + i * step) * g.channels + c;
        packs_x[i] = *reinterpret_cast<const Pack<T, kWidth>*>(b.x + at);
        packs_dy[i] = *reinterpret_cast<const Pack<T, kWidth>*>(b.dy + at);
      }
#pragma unroll
      for (int i = 0; i < kRowsInFlight; ++i) {
        float x[kWidth], dz[kWidth];
        unpack(packs_x[i], x);
        unpack(packs_dy[i], dz);
        add((r + i * step) * g.channels + c, x, dz);
      }
    }
    for (; r < end; r += step) {
      const std::int64_t at = r * g.channels + c;
      float x[kWidth], dz[kWidth];
      load(b.x + at, x);
      load(b.dy + at, dz);
      add(at, x, dz);
    }
  }
  sum_over_parts(tiles, g.channels, sum, product, sums, arrived, [&](int channel, double one, double two) {
    finish_gradients(g, b, means, channel, one, two);
  });
}

template <int kWidth, class T>
__global__ void __launch_bounds__(kTileRowsThreads)
    input_gradient_kernel(BatchNormGeom g, ChannelTiles tiles, BatchNormBackward<T> b, const float* means) {
  follow();
  const int c = (block_y() * tiles.lanes + thread_x() % tiles.lanes) * kWidth;
  if (c >= g.channels) return;
  const Channels<kWidth> channels(b, c, g.channels);
  float mean_dz[kWidth] = {}, mean_product[kWidth] = {};
  if (b.batch_statistics && b.dx != nullptr) {
    load_channels(means, c, g.channels, mean_dz);
    load_channels(means + g.channels, c, g.channels, mean_product);
  }
  const std::int64_t first =
      std::int64_t{block_x()} * tiles.rows() * kRowsPerThread + thread_x() / tiles.lanes;
  for (int i = 0; i < kRowsPerThread; ++i) {
    const std::int64_t r = first + i * tiles.rows();
    if (r >= g.rows) return;
    const std::int64_t at = r * g.channels + c;
    float x[kWidth], dz[kWidth];
    load(b.x + at, x);
    load(b.dy + at, dz);
    channels.mask(b, g.relu, at, x, dz);
    if (b.dresidual != nullptr) store(b.dresidual + at, dz, b.dresidual_write == Write::kAccumulate);
    if (b.dx == nullptr) continue;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float xhat = (x[j] - channels.mean[j]) * channels.inv_std[j];
      dz[j] = channels.scale[j] * (dz[j] - mean_dz[j] - xhat * mean_product[j]);
    }
    store(b.dx + at, dz, b.dx_write == Write::kAccumulate);
  }
}

// means: as finish_gradients leaves them, from sums over the whole batch.
__global__ void __launch_bounds__(256)
    means_of_sums_kernel(int channels, std::int64_t rows, const float* sums, float* means) {
  follow();
  const std::int64_t i = grid_thread();
  if (i < 2 * channels)
    means[i] = static_cast<float>(static_cast<double>(sums[i]) / static_cast<double>(rows));
}

template <int kWidth, class T>
void backward(Context& ctx, const BatchNormGeom& g, const BatchNormBackward<T>& b) {
  const ChannelTiles tiles = channel_tiles(g.channels, kWidth);
  auto* means = static_cast<float*>(
      ctx.workspace(Context::kCoefficients, 2 * static_cast<std::size_t>(g.channels) * sizeof(float)));
  if (b.sums != nullptr) {
    OFFRAMP_ASSERT(b.dgamma == nullptr);
    launch(means_of_sums_kernel,
           ceil_div(2 * g.channels, 256),
           256,
           0,
           ctx.stream(),
           g.channels,
           b.total_rows,
           b.sums,
           means);
  } else if (b.dgamma != nullptr || (b.dx != nullptr && b.batch_statistics)) {
    // Without rows one empty part: the sums are zero.
    const std::int64_t part = batch_norm_part(g.rows);
    const int parts = std::max(static_cast<int>(ceil_div(g.rows, part)), 1);
    launch(gradient_sums_kernel<kWidth, T>,
           dim3(static_cast<unsigned>(parts), static_cast<unsigned>(tiles.tiles)),
           kTileRowsThreads,
           0,
           ctx.stream(),
           g,
           part,
           tiles,
           b,
           batch_norm_sums(ctx, parts, g.channels),
           ctx.arrivals(static_cast<std::size_t>(tiles.tiles)),
           means);
  }
  if (g.rows == 0 || (b.dx == nullptr && b.dresidual == nullptr)) return;
  const dim3 grid(static_cast<unsigned>(ceil_div(g.rows, tiles.rows() * kRowsPerThread)),
                  static_cast<unsigned>(tiles.tiles));
  launch(input_gradient_kernel<kWidth, T>, grid, kTileRowsThreads, 0, ctx.stream(), g, tiles, b, means);
}

}  // namespace

template <class T>
void batch_norm_backward(Context& ctx, const BatchNormGeom& g, const BatchNormBackward<T>& b) {
  if (g.channels == 0) return;
  if (channel_width<T>(g.channels, b.dy, b.x, b.y, b.dx, b.dresidual) > 1) {
    backward<kVector<T>>(ctx, g, b);
  } else {
    backward<1>(ctx, g, b);
  }
}

template void batch_norm_backward(Context&, const BatchNormGeom&, const BatchNormBackward<float>&);
template void batch_norm_backward(Context&, const BatchNormGeom&, const BatchNormBackward<bf16>&);

}  // namespace offramp::cuda
