#pragma once
// Sums of many blocks without a launch behind them: every block leaves its part in memory, and the one that
// arrives last adds all parts in their order, so the result does not depend on who that is. Only .cu files
// include this.
#include "kernels/cuda/device_helpers.h"

namespace offramp::cuda {

// True in all threads of the block that arrives last of `count`; it sees what the others wrote before they
// arrived. `arrived` is zero before the first and zero again behind the last (Context::arrivals).
__device__ __forceinline__ bool last_block(unsigned* arrived, unsigned count) {
  OFFRAMP_SHARED(int, last, [1]);
  __threadfence();  // each thread's part is there before the block is counted
  __syncthreads();
  if (thread_x() == 0 && thread_y() == 0) {
    last[0] = atomicAdd(arrived, 1u) == count - 1 ? 1 : 0;
    if (last[0] != 0) atomicExch(arrived, 0u);
  }
  __syncthreads();
  if (last[0] == 0) return false;
  __threadfence();
  return true;
}

}  // namespace offramp::cuda
