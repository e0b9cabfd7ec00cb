#include "kernels/cuda/context.h"

#include <algorithm>

#include "kernels/cuda/error.h"
#include "kernels/cuda/memory.h"

namespace offramp::cuda {

Context::Context(const ContextOptions& options) {
  const int count = device_count();
  if (count == 0) throw DeviceError("cuda: expected a CUDA device, found none: " + why_no_device());
  if (options.device < 0 || options.device >= count) {
    throw DeviceError("cuda: expected a device from 0 to " + std::to_string(count - 1) + ", got " +
                      std::to_string(options.device));
  }
  set_device(options.device);
  stream_ = create_stream();
  // On the host every tensor is a heap block of its exact size, so that ASan sees its end.
  allocator_ = std::make_unique<CachingAllocator>(
      executes_on_host() ? CachingAllocator::Reuse::kNever : CachingAllocator::Reuse::kStreamOrdered);
  uploads_ = std::make_unique<UploadRing>();
}

Context::~Context() {
  uploads_.reset();
  for (const Buffer& buffer : buffers_) device_free(buffer.data);
  for (const Buffer& buffer : outgrown_) device_free(buffer.data);
  allocator_.reset();
  destroy_stream(stream_);
}

void* Context::workspace(Slot slot, std::size_t bytes) {
  Buffer& buffer = buffers_[slot];
  if (bytes > buffer.bytes) {
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

std::size_t Context::workspace_bytes() const {
  std::size_t sum = 0;
  for (const Buffer& buffer : buffers_) sum += buffer.bytes;
  for (const Buffer& buffer : outgrown_) sum += buffer.bytes;
  return sum;
}

}  // namespace offramp::cuda
