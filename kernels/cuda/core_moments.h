#pragma once
// Moments of the columns of a tile of tensor_core_product.h, out of the registers that hold it.
#include "kernels/cuda/channel_moments.h"

namespace offramp::cuda {

inline constexpr int kCoreRows = 128;  // of a block's tile
constexpr int core_threads(int columns) { return columns > 64 ? 256 : 128; }

// `sums` as the kernel has them: piece [i][j] is rows 16 i and columns 8 j of the warp's share, and in it lane l
// holds rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next. They count as they are stored, in bf16.
// `shared`: all of the block's dynamic memory, at least 27 kB.
template <int kColumns, int kPieces>
__device__ __forceinline__ void core_moments(const ChannelMoments& m,
                                             const float (&sums)[2][kPieces][4],
                                             unsigned* counters,
                                             void* shared) {
  constexpr int kThreads = core_threads(kColumns);
  static_assert(kPieces * 8 * (kThreads / 128) == kColumns);
  float* const pivots = static_cast<float*>(shared);  // [kColumns]: the block's first row
  float* const parts = pivots + kColumns;             // [4 warps][2][kColumns]
  const int warp = thread_x() / 32, lane = thread_x() % 32, down = warp % 4;
  const int column = warp / 4 * (kPieces * 8) + lane % 4 * 2;
  const auto value = [&](int i, int j, int at) { return to_float(static_cast<bf16>(sums[i][j][at])); };
  __syncthreads();  // the last tiles have been read by all
  if (down == 0 && lane < 4) {
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) pivots[column + j * 8 + e] = value(0, j, e);
    }
  }
  __syncthreads();
  const int rows = m.rows_of(block_x()) - down * 32 - lane / 4;  // that are this lane's or further down
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const float pivot = pivots[column + j * 8 + e];
      float sum = 0, squares = 0;
#pragma unroll
      for (int row = 0; row < 4; ++row) {
        const float d = row * 8 < rows ? value(row / 2, j, row % 2 * 2 + e) - pivot : 0.f;
        sum += d;
        squares = fmaf(d, d, squares);
      }
#pragma unroll
      for (int offset = 4; offset < 32; offset *= 2) {
        sum += __shfl_xor_sync(kAllLanes, sum, offset);
        squares += __shfl_xor_sync(kAllLanes, squares, offset);
      }
      if (lane < 4) {
        parts[down * 2 * kColumns + column + j * 8 + e] = sum;
        parts[(down * 2 + 1) * kColumns + column + j * 8 + e] = squares;
      }
    }
  }
  __syncthreads();
  const int own = thread_x(), c = block_y() * kColumns + own;
  if (own < kColumns && c < m.g.channels) {
    float sum = 0, squares = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sum += parts[i * 2 * kColumns + own];
      squares += parts[(i * 2 + 1) * kColumns + own];
    }
    m.leave(c, pivots[own], sum, squares);
  }
  // Behind what was just read: other threads may still be reading it.
  auto* const totals = reinterpret_cast<double*>(static_cast<char*>(shared) + 9 * kColumns * sizeof(float));
  finish_moments<kThreads>(m, block_y() * kColumns, kColumns, counters, totals);
}

}  // namespace offramp::cuda
