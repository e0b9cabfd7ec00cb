// A build without cuDNN's headers: the library counts as missing.
#include "kernels/cuda/cudnn_conv.h"
#include "kernels/cuda/vendor_libraries.h"

namespace offramp::cuda {
namespace {
constexpr const char* kWhy = "built without cuDNN (cudnn_graph.h of version 9 was not found)";
}

LibraryState cudnn_state() { return {false, kWhy}; }

std::unique_ptr<CudnnConvolutions> CudnnConvolutions::open(const std::string& /*device_name*/,
                                                           const std::string& /*table_path*/,
                                                           std::string& why) {
  why = kWhy;
  return nullptr;
}

}  // namespace offramp::cuda
