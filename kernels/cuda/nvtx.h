#pragma once
// The ranges of kernels/range.h as NVTX ranges of the domain `offramp`, for Nsight Systems.
#include "kernels/range.h"

namespace offramp::cuda {

// Null in a build without the toolkit's header-only NVTX (OFFRAMP_CUDA=host). Without a profiler attached a
// range costs a few nanoseconds.
RangeListener* nvtx_listener();

}  // namespace offramp::cuda
