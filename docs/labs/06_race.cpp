// Lab 6: a race. Page: docs/labs/06_race.md; tools/lab 6 grades it.
#include "docs/labs/kernels.h"

// Hillis and Steele: after step k each place holds the sum of the last 2^k values up to it.
__global__ void scan_kernel(const int* x, int* y) {
  const unsigned t = threadIdx.x, n = blockDim.x;
  OFFRAMP_SHARED(int, s, [256]);
  s[t] = x[t];
  __syncthreads();
  for (unsigned offset = 1; offset < n; offset *= 2) {
    // HOLE: who reads s[t - offset], and who writes it, in this very step?
    if (t >= offset) s[t] += s[t - offset];
    __syncthreads();
  }
  y[t] = s[t];
}

void block_scan(int n, const int* x, int* y) { launch(scan_kernel, 1, n, 0, nullptr, x, y); }
