// A build without cuBLASLt's header: the library counts as missing.
#include "kernels/cuda/cublaslt_product.h"
#include "kernels/cuda/vendor_libraries.h"

namespace offramp::cuda {
namespace {
constexpr const char* kWhy = "built without cuBLASLt (cublasLt.h was not found)";
}

LibraryState cublaslt_state() { return {false, kWhy}; }

std::unique_ptr<CublasLtProducts> CublasLtProducts::open(std::string& why) {
  why = kWhy;
  return nullptr;
}

}  // namespace offramp::cuda
