#pragma once
// How a block of 256 threads lies over [rows, channels]: `lanes` threads for neighbouring groups of kWidth
// channels (one access each), the rest for rows. Sums over rows run in an order that the shape alone decides.
#include "kernels/cuda/device_helpers.h"

namespace offramp::cuda {

inline constexpr int kTileRowsThreads = 256;

struct ChannelTiles {
  int lanes = 1;  // a power of two, at most 32
  int tiles = 1;  // blocks along the channels
  OFFRAMP_HD int rows() const { return kTileRowsThreads / lanes; }
};

inline ChannelTiles channel_tiles(int channels, int width) {
  const int groups = ceil_div(channels, width);
  ChannelTiles t;
  while (t.lanes < 32 && t.lanes < groups) t.lanes *= 2;
  t.tiles = ceil_div(groups, t.lanes);
  return t;
}

// Channels of one access: as many as fill 16 bytes where every pointer (null counts) and the row length allow
// it.
template <class T, class... Pointer>
int channel_width(int channels, const Pointer*... pointers) {
  return channels % kVector<T> == 0 && (aligned(pointers) && ...) ? kVector<T> : 1;
}

// Sums `values` over the rows of the block; the threads of row 0 get the sums. `shared` holds one value a
// thread and channel.
template <int kWidth>
__device__ __forceinline__ void sum_tile_rows(const ChannelTiles& tiles,
                                              float (&values)[kWidth],
                                              float* shared) {
  float* mine = shared + thread_x() * kWidth;
  const int row = thread_x() / tiles.lanes;
#pragma unroll
  for (int j = 0; j < kWidth; ++j) mine[j] = values[j];
  for (int step = tiles.rows() / 2; step > 0; step /= 2) {
    __syncthreads();
    if (row < step) {
#pragma unroll
      for (int j = 0; j < kWidth; ++j) mine[j] += mine[step * tiles.lanes * kWidth + j];
    }
  }
#pragma unroll
  for (int j = 0; j < kWidth; ++j) values[j] = mine[j];
}

// A thread's values of one channel array; zero behind the last channel.
template <int kWidth>
__device__ __forceinline__ void load_channels(const float* array, int c, int channels, float (&out)[kWidth]) {
#pragma unroll
  for (int j = 0; j < kWidth; ++j) out[j] = c + j < channels ? array[c + j] : 0.f;
}

}  // namespace offramp::cuda
