#include "kernels/cuda/context.h"

#include <algorithm>

#include "base/errors.h"
#include "kernels/cuda/cublaslt_product.h"
#include "kernels/cuda/cudnn_conv.h"
#include "kernels/cuda/memory.h"
#include "kernels/elementwise.h"

namespace offramp::cuda {
namespace {

ContextOptions& the_defaults() {
  static ContextOptions options;
  return options;
}

thread_local int bound_device = -1;

}  // namespace

void Context::bind() const {
  if (bound_device == options_.device) return;
  set_device(options_.device);
  bound_device = options_.device;
}

const ContextOptions& default_options() { return the_defaults(); }
void set_default_options(const ContextOptions& options) { the_defaults() = options; }

Context::Context(const ContextOptions& options) : options_(options) {
  const int count = device_count();
  if (count == 0) throw DeviceError("cuda: expected a CUDA device, found none: " + why_no_device());
  if (options.device < 0 || options.device >= count) {
    throw DeviceError("cuda: expected a device from 0 to " + std::to_string(count - 1) + ", got " +
                      std::to_string(options.device));
  }
  bind();
  properties_ = device_properties(options.device);
  if (options.conv != ConvBackend::kNative) open_libraries();
  stream_ = create_stream();
  // On the host every tensor is a heap block of its exact size, so that ASan sees its end.
  allocator_ = std::make_unique<CachingAllocator>(
      executes_on_host() ? CachingAllocator::Reuse::kNever : CachingAllocator::Reuse::kStreamOrdered);
  uploads_ = std::make_unique<UploadRing>();
}

Context::~Context() {
  bind();
  uploads_.reset();
  cudnn_.reset();
  cublaslt_.reset();
  for (const Buffer& buffer : buffers_) device_free(buffer.data);
  for (const Buffer& buffer : outgrown_) device_free(buffer.data);
  allocator_.reset();
  destroy_stream(stream_);
}

void Context::open_libraries() {
  std::string no_cudnn, no_cublaslt;
  cudnn_ = CudnnConvolutions::open(properties_.name, options_.plan_table, no_cudnn);
  cublaslt_ = CublasLtProducts::open(no_cublaslt);
  if (options_.conv == ConvBackend::kCudnn) {
    if (cudnn_ == nullptr) throw DeviceError("cuda: cuDNN was asked for: " + no_cudnn);
    if (cublaslt_ == nullptr) throw DeviceError("cuda: cuBLASLt was asked for: " + no_cublaslt);
  }
  if (executes_on_host()) return;  // slow by nature: nobody waits for a library
  if (cudnn_ == nullptr) notices_.push_back("cuda: convolutions by our own kernels: " + no_cudnn);
  if (cudnn_ != nullptr && !no_cudnn.empty()) notices_.push_back("cuda: " + no_cudnn);
  if (cublaslt_ == nullptr) notices_.push_back("cuda: matrix products by our own kernels: " + no_cublaslt);
}

void* Context::workspace(Slot slot, std::size_t bytes) {
  Buffer& buffer = buffers_[slot];
  if (bytes > buffer.bytes) {
    bind();
    if (is_capturing(stream_)) {
      throw DeviceError("cuda: scratch grows from " + std::to_string(buffer.bytes) + " to " +
                        std::to_string(bytes) + " bytes while a step is captured; run the step once before");
    }
    const std::size_t grown = std::max(bytes, 2 * buffer.bytes);
    void* data = device_malloc(grown);
    if (buffer.data != nullptr) outgrown_.push_back(buffer);
    buffer = {data, grown};
  }
  return buffer.data;
}

unsigned* Context::arrivals(std::size_t count) {
  const std::size_t before = buffers_[kArrivals].bytes;
  auto* counters = static_cast<unsigned*>(workspace(kArrivals, count * sizeof(unsigned)));
  const std::size_t after = buffers_[kArrivals].bytes;
  if (after != before) memset_async(counters, 0, after, stream());
  return counters;
}

void Context::round_parameters(std::int64_t count, const float* parameters) {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(bf16);
  const bool in_graph = is_capturing(stream());
  // Graphs have a copy of their own: a replay writes to it when nobody here knows.
  auto* to = static_cast<bf16*>(workspace(kRoundedInGraphs, bytes));
  if (!in_graph) to = static_cast<bf16*>(workspace(kRounded, bytes));
  convert(*this, count, parameters, to, Write::kOverwrite);
  rounded_ = {parameters, count, to, in_graph};
}

const bf16* Context::rounded(const float* w, std::int64_t count) const {
  if (rounded_.from == nullptr || w < rounded_.from || w + count > rounded_.from + rounded_.count)
    return nullptr;
  return rounded_.in_graph == is_capturing(stream()) ? rounded_.to + (w - rounded_.from) : nullptr;
}

void Context::written(const void* to, std::size_t bytes) {
  const auto* first = static_cast<const char*>(to);
  const auto* begin = reinterpret_cast<const char*>(rounded_.from);
  const auto* end = reinterpret_cast<const char*>(rounded_.from + rounded_.count);
  if (rounded_.from != nullptr && first < end && first + bytes > begin) rounded_ = {};
}

std::size_t Context::workspace_bytes() const {
  std::size_t sum = 0;
  for (const Buffer& buffer : buffers_) sum += buffer.bytes;
  for (const Buffer& buffer : outgrown_) sum += buffer.bytes;
  return sum;
}

}  // namespace offramp::cuda
