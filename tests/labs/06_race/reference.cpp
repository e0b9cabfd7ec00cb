#include "docs/labs/kernels.h"

__global__ void scan_kernel(const int* x, int* y) {
  const unsigned t = threadIdx.x, n = blockDim.x;
  OFFRAMP_SHARED(int, s, [256]);
  s[t] = x[t];
  __syncthreads();  // filled
  for (unsigned offset = 1; offset < n; offset *= 2) {
    const int left = t >= offset ? s[t - offset] : 0;
    __syncthreads();  // read
    s[t] += left;
    __syncthreads();  // written
  }
  y[t] = s[t];
}

void block_scan(int n, const int* x, int* y) { launch(scan_kernel, 1, n, 0, nullptr, x, y); }
