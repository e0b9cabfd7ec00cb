#pragma once
// What the two halves of batch normalisation share: how rows are cut into parts, and how the parts' sums are
// added up.
#include <algorithm>

#include "kernels/batch_norm.h"
#include "kernels/cuda/channel_tiles.h"
#include "kernels/cuda/context.h"

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

// Blocks of 32 channels by 8 threads: the two sums of a channel over all parts, in double, in order.
inline constexpr int kFinishChannels = 32, kFinishRows = 8;

struct TwoSums {
  double first, second;
};
__device__ __forceinline__ TwoSums sum_parts(int parts, int channels, int c, const float* sums) {
  OFFRAMP_SHARED(double, first, [kFinishRows][kFinishChannels]);
  OFFRAMP_SHARED(double, second, [kFinishRows][kFinishChannels]);
  TwoSums sum{0, 0};
  if (c < channels) {
    for (int p = thread_y(); p < parts; p += kFinishRows) {
      const float* part = sums + std::int64_t{p} * 2 * channels + c;
      sum.first += static_cast<double>(part[0]);
      sum.second += static_cast<double>(part[channels]);
    }
  }
  first[thread_y()][thread_x()] = sum.first;
  second[thread_y()][thread_x()] = sum.second;
  __syncthreads();
  if (thread_y() == 0) {
    for (int i = 1; i < kFinishRows; ++i) {
      sum.first += first[i][thread_x()];
      sum.second += second[i][thread_x()];
    }
  }
  return sum;  // of use to the threads with y = 0
}

inline dim3 finish_grid(int channels) {
  return dim3(static_cast<unsigned>(ceil_div(channels, kFinishChannels)));
}
inline dim3 finish_block() { return dim3(kFinishChannels, kFinishRows); }

// Scratch [parts][2][channels] of float sums.
inline float* batch_norm_sums(Context& ctx, int parts, int channels) {
  return static_cast<float*>(ctx.workspace(
      Context::kPartials,
      static_cast<std::size_t>(parts) * 2 * static_cast<std::size_t>(channels) * sizeof(float)));
}

}  // namespace offramp::cuda
