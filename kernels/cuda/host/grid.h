#pragma once
// A launch on the host: limits as on a device, then the blocks, on config().workers OS threads.
#include <cstddef>
#include <tuple>

#include "kernels/cuda/host/block.h"

namespace offramp::cuda::host {

// Empty when a device of compute capability 9.0 would take the shape of a launch, else what it would refuse.
std::string launch_problem(dim3 grid, dim3 block);

// Runs all blocks and returns when they are done. Rethrows the first failure of a block.
void run_grid(Block::Launch& launch);

}  // namespace offramp::cuda::host
