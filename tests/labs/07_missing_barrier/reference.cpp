#include "docs/labs/kernels.h"

constexpr int kThreads = 64;

// The largest value, or the sum, of s[0..kThreads), into s[0]. Begins and ends with a barrier.
template <class Join>
__device__ void reduce(float* s, Join join) {
  const int t = static_cast<int>(threadIdx.x);
  __syncthreads();  // filled
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (t < half) s[t] = join(s[t], s[t + half]);
    __syncthreads();  // halved
  }
}

__global__ void softmax_kernel(int cols, const float* x, float* y) {
  OFFRAMP_SHARED(float, s, [kThreads]);
  const int t = static_cast<int>(threadIdx.x);
  x += static_cast<long>(blockIdx.x) * cols;
  y += static_cast<long>(blockIdx.x) * cols;

  float largest = -INFINITY;
  for (int c = t; c < cols; c += kThreads) largest = fmaxf(largest, x[c]);
  s[t] = largest;
  reduce(s, [](float a, float b) { return fmaxf(a, b); });
  largest = s[0];
  __syncthreads();  // read by all
  float sum = 0;
  for (int c = t; c < cols; c += kThreads) sum += expf(x[c] - largest);
  s[t] = sum;
  reduce(s, [](float a, float b) { return a + b; });
  for (int c = t; c < cols; c += kThreads) y[c] = expf(x[c] - largest) / s[0];
}

void block_softmax(int rows, int cols, const float* x, float* y) {
  if (rows > 0) launch(softmax_kernel, rows, kThreads, 0, nullptr, cols, x, y);
}
