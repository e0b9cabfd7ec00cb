#pragma once
// What the CUDA kernels share: the stream that everything runs on, scratch memory, and the memory of tensors.
// One context is used by one thread at a time.
#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/cuda/runtime.h"

namespace offramp::cuda {

class CachingAllocator;  // kernels/cuda/memory.h
class UploadRing;

// Which convolution and matrix product: the vendor's libraries (where they are found) or our own.
enum class ConvBackend { kLibrary, kNative };

struct ContextOptions {
  int device = 0;
  ConvBackend conv = ConvBackend::kLibrary;
};

class Context {
 public:
  // Throws DeviceError that says what is missing where there is no device.
  explicit Context(const ContextOptions& options = {});
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Stream stream() const { return stream_; }
  // kNative where no library is opened, whatever was asked for.
  ConvBackend conv_backend() const { return ConvBackend::kNative; }

  // Device scratch of at least `bytes`, 256-byte aligned, valid until the next call with the same slot. Grows
  // to twice the size, so a step that was run once never allocates again; outgrown scratch is kept, because a
  // captured graph may still point to it.
  enum Slot { kPartials, kCoefficients, kColumns, kSlotCount };
  void* workspace(Slot slot, std::size_t bytes);
  std::size_t workspace_bytes() const;  // of all slots together, outgrown ones included

  CachingAllocator& allocator() { return *allocator_; }
  UploadRing& uploads() { return *uploads_; }

 private:
  struct Buffer {
    void* data = nullptr;
    std::size_t bytes = 0;
  };
  Stream stream_ = nullptr;
  Buffer buffers_[kSlotCount];
  std::vector<Buffer> outgrown_;
  std::unique_ptr<CachingAllocator> allocator_;
  std::unique_ptr<UploadRing> uploads_;
};

}  // namespace offramp::cuda
