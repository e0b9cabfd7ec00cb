#pragma once
// NVIDIA's NCCL, opened on first use: what the ranks gather goes from device to device in stream order. Only its all-gather
// is used; sums are ours, in the order of the shards. One device a rank. Like all of kernels/cuda it has run with a
// stand-in on the host and never on a GPU.
#include <memory>

#include "kernels/cuda/context.h"
#include "kernels/cuda/vendor_libraries.h"
#include "kernels/ranks/transport.h"

namespace offramp::cuda {

LibraryState nccl_state();  // OFFRAMP_NCCL, the loader's search, OFFRAMP_PYTORCH

// Meets the others through `host`; each rank calls it. Null where a rank lacks the library, then `why` says which and all
// go through the host's memory. Both must outlive what is returned.
std::unique_ptr<DeviceTransport> open_nccl(Transport& host, Context& ctx, std::string& why);

}  // namespace offramp::cuda
