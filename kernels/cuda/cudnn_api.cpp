#include "kernels/cuda/cudnn_api.h"

#include <algorithm>

#include "base/errors.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/vendor_libraries.h"

namespace offramp::cuda {
namespace {

CudnnApi open_cudnn() {
  CudnnApi api;
  LibrarySearch search{.file = "libcudnn.so.9",
                       .variable = "OFFRAMP_CUDNN",
                       .pytorch_folders = {"lib", "../nvidia/cudnn/lib"}};
  api.library = DynamicLibrary(search, executes_on_host());
  DynamicLibrary& library = api.library;
  library.find(api.get_version, "cudnnGetVersion");
  library.find(api.get_error_string, "cudnnGetErrorString");
  library.find(api.get_last_error_string, "cudnnGetLastErrorString");
  library.find(api.create, "cudnnCreate");
  library.find(api.destroy, "cudnnDestroy");
  library.find(api.set_stream, "cudnnSetStream");
  library.find(api.create_descriptor, "cudnnBackendCreateDescriptor");
  library.find(api.destroy_descriptor, "cudnnBackendDestroyDescriptor");
  library.find(api.finalize, "cudnnBackendFinalize");
  library.find(api.set_attribute, "cudnnBackendSetAttribute");
  library.find(api.get_attribute, "cudnnBackendGetAttribute");
  library.find(api.execute, "cudnnBackendExecute");
  return api;
}

std::string version_text(std::size_t version) {  // 91900 is 9.19.0
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

}  // namespace

const CudnnApi& cudnn_api() {
  // Never closed: contexts in statics still call it while the program ends.
  static const auto* api = new CudnnApi(open_cudnn());
  return *api;
}

LibraryState cudnn_state() {
  const CudnnApi& api = cudnn_api();
  if (!api.library.is_open()) return {false, "missing: " + api.library.problem()};
  return {true, version_text(api.get_version()) + " (" + api.library.path() + ")"};
}

void check_cudnn(const CudnnApi& api, cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char words[1024] = "";
  api.get_last_error_string(words, sizeof(words));
  throw DeviceError(std::string("cudnn: ") + call + ": " + api.get_error_string(status) +
                    (words[0] == '\0' ? "" : std::string(" (") + words + ")"));
}

CudnnDescriptor::CudnnDescriptor(const CudnnApi& api, cudnnBackendDescriptorType_t type) : api_(&api) {
  check_cudnn(api, api.create_descriptor(type, &descriptor_), "cudnnBackendCreateDescriptor");
}

void CudnnDescriptor::set_raw(cudnnBackendAttributeName_t name,
                              cudnnBackendAttributeType_t type,
                              std::int64_t count,
                              const void* values) {
  check_cudnn(*api_, api_->set_attribute(descriptor_, name, type, count, values), "cudnnBackendSetAttribute");
}

void CudnnDescriptor::set(cudnnBackendAttributeName_t name, std::span<const std::int64_t> values) {
  set_raw(name, CUDNN_TYPE_INT64, static_cast<std::int64_t>(values.size()), values.data());
}

void CudnnDescriptor::finalize() { check_cudnn(*api_, api_->finalize(descriptor_), "cudnnBackendFinalize"); }

std::int64_t CudnnDescriptor::get_raw(cudnnBackendAttributeName_t name,
                                      cudnnBackendAttributeType_t type,
                                      std::int64_t room,
                                      void* values) const {
  std::int64_t count = 0;
  check_cudnn(
      *api_, api_->get_attribute(descriptor_, name, type, room, &count, values), "cudnnBackendGetAttribute");
  return count;
}

std::int64_t CudnnDescriptor::get_int64(cudnnBackendAttributeName_t name) const {
  std::int64_t value = 0;
  get_raw(name, CUDNN_TYPE_INT64, 1, &value);
  return value;
}

std::vector<CudnnDescriptor> CudnnDescriptor::get_descriptors(cudnnBackendAttributeName_t name,
                                                              cudnnBackendDescriptorType_t type,
                                                              std::int64_t room) const {
  std::vector<CudnnDescriptor> all;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < room; ++i) {
    all.emplace_back(*api_, type);
    raw.push_back(all.back().get());
  }
  const std::int64_t count = room == 0 ? 0 : get_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, room, raw.data());
  all.erase(all.begin() + static_cast<std::ptrdiff_t>(std::min(count, room)), all.end());
  return all;
}

}  // namespace offramp::cuda
