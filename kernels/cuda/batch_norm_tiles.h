#pragma once
// What the two halves of batch normalisation share: how rows are cut into parts, and how the parts' sums are
// added up.
#include <algorithm>

#include "kernels/batch_norm.h"
#include "kernels/cuda/channel_tiles.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/last_block.h"

namespace offramp::cuda {

// Rows of one part: by the geometry alone; at most 256 parts.
inline std::int64_t batch_norm_part(std::int64_t rows) {
  return std::max<std::int64_t>(ceil_div(rows, 256), 64);
}

// z = fma(scale, x, shift), the same in every form and direction.
struct ScaleShift {
  float scale, shift;
};
__device__ __forceinline__ ScaleShift scale_shift(float gamma, float beta, float mean, float inv_std) {
  const float scale = gamma * inv_std;
  return {scale, beta - mean * scale};
}

// Both sums of a block's rows, `first` and `second` of each thread's kWidth channels, become part block_x() of
// `sums`; the last block of the channels (`arrived`, of block_y()) calls finish(c, sum of first, sum of second)
// for each of them with the sums over all parts, in double, in an order that the shape decides.
template <int kWidth, class Finish>
__device__ __forceinline__ void sum_over_parts(const ChannelTiles& tiles,
                                               int channels,
                                               float (&first)[kWidth],
                                               float (&second)[kWidth],
                                               float* sums,
                                               unsigned* arrived,
                                               const Finish& finish) {
  OFFRAMP_SHARED(float, shared, [kTileRowsThreads * kWidth]);
  OFFRAMP_SHARED(double, all_first, [kTileRowsThreads]);
  OFFRAMP_SHARED(double, all_second, [kTileRowsThreads]);
  const int own = (block_y() * tiles.lanes + thread_x() % tiles.lanes) * kWidth;
  sum_tile_rows(tiles, first, shared);
  __syncthreads();
  sum_tile_rows(tiles, second, shared);
  if (thread_x() < tiles.lanes && own < channels) {
    float* to = sums + std::int64_t{block_x()} * 2 * channels + own;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      to[j] = first[j];
      to[channels + j] = second[j];
    }
  }
  const int parts = static_cast<int>(gridDim.x);
  if (!last_block(arrived + block_y(), gridDim.x)) return;
  const int width = tiles.lanes * kWidth;  // a power of two, at most the threads
  const int rows = kTileRowsThreads / width, row = thread_x() / width;
  const int c = block_y() * width + thread_x() % width;
  double one = 0, two = 0;
  if (c < channels) {
#pragma unroll 4
    for (int p = row; p < parts; p += rows) {
      const float* part = sums + std::int64_t{p} * 2 * channels + c;
      one += static_cast<double>(part[0]);
      two += static_cast<double>(part[channels]);
    }
  }
  all_first[thread_x()] = one;
  all_second[thread_x()] = two;
  __syncthreads();
  if (row != 0 || c >= channels) return;
  for (int i = 1; i < rows; ++i) {
    one += all_first[thread_x() + i * width];
    two += all_second[thread_x() + i * width];
  }
  finish(c, one, two);
}

// Scratch [parts][2][channels] of float sums.
inline float* batch_norm_sums(Context& ctx, int parts, int channels) {
  return static_cast<float*>(ctx.workspace(
      Context::kPartials,
      static_cast<std::size_t>(parts) * 2 * static_cast<std::size_t>(channels) * sizeof(float)));
}

}  // namespace offramp::cuda
