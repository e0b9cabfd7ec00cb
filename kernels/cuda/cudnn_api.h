#pragma once
// The functions of libcudnn that we call, found at run time; types and enums come from cuDNN's header. Only
// the files that speak to cuDNN include this.
#include <cudnn_graph.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/dynamic_library.h"

namespace offramp::cuda {

struct CudnnApi {
  DynamicLibrary library;
  decltype(&cudnnGetVersion) get_version = nullptr;
  decltype(&cudnnGetErrorString) get_error_string = nullptr;
  decltype(&cudnnGetLastErrorString) get_last_error_string = nullptr;
  decltype(&cudnnCreate) create = nullptr;
  decltype(&cudnnDestroy) destroy = nullptr;
  decltype(&cudnnSetStream) set_stream = nullptr;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor = nullptr;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor = nullptr;
  decltype(&cudnnBackendFinalize) finalize = nullptr;
  decltype(&cudnnBackendSetAttribute) set_attribute = nullptr;
  decltype(&cudnnBackendGetAttribute) get_attribute = nullptr;
  decltype(&cudnnBackendExecute) execute = nullptr;
};

// Opened on the first call; its `library` says whether it is there. Version 9 or later, else it counts as
// missing.
const CudnnApi& cudnn_api();

// Throws DeviceError: call, the status' name and cuDNN's own words.
void check_cudnn(const CudnnApi& api, cudnnStatus_t status, const char* call);

// A backend descriptor: attributes are set, then it is finalized, then read. Move only.
class CudnnDescriptor {
 public:
  CudnnDescriptor(const CudnnApi& api, cudnnBackendDescriptorType_t type);
  ~CudnnDescriptor() {
    if (descriptor_ != nullptr) api_->destroy_descriptor(descriptor_);
  }
  CudnnDescriptor(CudnnDescriptor&& other) noexcept
      : api_(other.api_), descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  CudnnDescriptor& operator=(CudnnDescriptor&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

  cudnnBackendDescriptor_t get() const { return descriptor_; }

  void set(cudnnBackendAttributeName_t name, std::span<const std::int64_t> values);
  void set(cudnnBackendAttributeName_t name, std::int64_t value) {
    set_raw(name, CUDNN_TYPE_INT64, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, float value) { set_raw(name, CUDNN_TYPE_FLOAT, 1, &value); }
  void set(cudnnBackendAttributeName_t name, bool value) { set_raw(name, CUDNN_TYPE_BOOLEAN, 1, &value); }
  void set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
    set_raw(name, CUDNN_TYPE_DATA_TYPE, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value) {
    set_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_);
  }
  void set_raw(cudnnBackendAttributeName_t name,
               cudnnBackendAttributeType_t type,
               std::int64_t count,
               const void* values);
  void finalize();
  // Whether the library can do what the descriptor asks for; for engines' plans, whose refusal is no error.
  bool try_finalize() { return api_->finalize(descriptor_) == CUDNN_STATUS_SUCCESS; }

  std::int64_t get_int64(cudnnBackendAttributeName_t name) const;
  // The library's count; at most `values` are written.
  std::int64_t get_raw(cudnnBackendAttributeName_t name,
                       cudnnBackendAttributeType_t type,
                       std::int64_t room,
                       void* values) const;
  // As many as the library has, at most `room`.
  std::vector<CudnnDescriptor> get_descriptors(cudnnBackendAttributeName_t name,
                                               cudnnBackendDescriptorType_t type,
                                               std::int64_t room) const;

 private:
  const CudnnApi* api_;
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

}  // namespace offramp::cuda
