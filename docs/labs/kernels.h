// What labs 6 and 7 ask for: kernels in the project's one source for two builds (kernels/cuda/launch.h), run here on the CPU, one
// fiber a CUDA thread. Pointers are device memory.
#pragma once

#include "kernels/cuda/launch.h"

using namespace offramp::cuda;

extern "C" {

// Lab 6. y_i = x_0 + .. + x_i, by one block of n threads (1 to 256).
void block_scan(int n, const int* x /*[n]*/, int* y /*[n]*/);

// Lab 7. y = softmax of each row, by one block of 64 threads a row.
void block_softmax(int rows, int cols, const float* x /*[rows, cols]*/, float* y /*[rows, cols]*/);

}  // extern "C"
