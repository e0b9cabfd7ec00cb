#pragma once
// Softmax of one row by one warp: the maximum and its first place, then the sum of exponentials; lane l takes
// classes l, l + 32, ... in order. NaN in a row makes its sum NaN.
#include <cmath>

#include "kernels/cuda/device_helpers.h"

namespace offramp::cuda {

inline constexpr int kRowThreads = 128, kRowsPerBlock = kRowThreads / 32;

__device__ __forceinline__ int lane() { return thread_x() % 32; }
// The row of this warp in a launch of ceil_div(rows, kRowsPerBlock) blocks.
__device__ __forceinline__ int warp_row() { return block_x() * kRowsPerBlock + thread_x() / 32; }

struct RowSoftmax {
  int classes;
  const float* z;
  float max, sum, log_sum;
  int argmax;

  __device__ RowSoftmax(int count, const float* logits) : classes(count), z(logits) {
    max = -INFINITY;
    argmax = count;
    for (int k = lane(); k < classes; k += 32) {
      if (z[k] > max ||
          (argmax == count && z[k] == max)) {  // the second: a row of -infinity has a first place too
        max = z[k];
        argmax = k;
      }
    }
    warp_argmax(max, argmax);
    if (argmax == count) argmax = 0;  // nothing but NaN
    sum = 0;
    for (int k = lane(); k < classes; k += 32) sum += expf(z[k] - max);
    sum = warp_sum(sum);
    log_sum = logf(sum);
  }
  __device__ float log_p(int k) const { return (z[k] - max) - log_sum; }
  __device__ float p(int k) const { return expf(z[k] - max) / sum; }
  __device__ float confidence() const { return 1.f / sum; }
};

}  // namespace offramp::cuda
