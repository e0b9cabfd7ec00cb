#pragma once
// What the CUDA kernels share: the stream that everything runs on, scratch memory, and the memory of tensors.
// One context is used by one thread at a time, which may be another than made it.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/cuda/runtime.h"

namespace offramp::cuda {

class CachingAllocator;  // kernels/cuda/memory.h
class UploadRing;
class CudnnConvolutions;  // kernels/cuda/cudnn_conv.h
class CublasLtProducts;   // kernels/cuda/cublaslt_product.h

// Which convolution and matrix product: cuDNN and cuBLASLt, each where it is found, else our own; the same,
// but it is an error where one is missing; our own.
enum class ConvBackend { kLibrary, kCudnn, kNative };

struct ContextOptions {
  int device = 0;
  ConvBackend conv = ConvBackend::kLibrary;
  bool tf32 = false;  // the libraries may round float inputs of products to ten bits of mantissa
  std::string plan_table =
      {};  // a file of measured cuDNN plans, made where it is missing; empty: cuDNN's heuristics
};

// Of contexts that are made without options of their own, as the engine's device is. Set before the first of
// them, by the program's start.
const ContextOptions& default_options();
void set_default_options(const ContextOptions& options);

class Context {
 public:
  // Throws DeviceError that says what is missing where there is no device.
  explicit Context(const ContextOptions& options = default_options());
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Stream stream() const {
    bind();
    return stream_;
  }
  // Makes the context's device that of the calling thread, for which the runtime keeps one. What gives out the
  // stream or memory has done it.
  void bind() const;
  // Null where the library is missing or not wanted: then our own kernels compute.
  CudnnConvolutions* cudnn() const { return cudnn_.get(); }
  CublasLtProducts* cublaslt() const { return cublaslt_.get(); }
  bool tf32() const { return options_.tf32; }
  // What was asked for and is missing, and what was wrong with the plan table; a line each.
  const std::vector<std::string>& notices() const { return notices_; }
  const DeviceProperties& properties() const { return properties_; }

  // Device scratch of at least `bytes`, 256-byte aligned, valid until the next call with the same slot. Grows
  // to twice the size, so a step that was run once never allocates again; outgrown scratch is kept, because a
  // captured graph may still point to it.
  enum Slot {
    kPartials,
    kCoefficients,
    kWeights,
    kLibrary,
    kArrivals,
    kRounded,
    kRoundedInGraphs,
    kSlotCount
  };
  void* workspace(Slot slot, std::size_t bytes);
  // Counters of blocks (last_block.h), at least `count`, all zero: whoever counts in one leaves it at zero.
  unsigned* arrivals(std::size_t count);
  // Rounds parameters to bf16, all at once, for the convolutions that follow: their filters are then not rounded
  // one by one. That holds until something of ours writes to the parameters, or frees them (`written`), or a
  // recorded step is replayed, which may write to them unseen (`forget_rounded`); such a step holds its own copy,
  // and rounds anew whenever it is replayed.
  void round_parameters(std::int64_t count, const float* parameters);
  // The `count` filters from `w` on as they were rounded, or null.
  const bf16* rounded(const float* w, std::int64_t count) const;
  void written(const void* to, std::size_t bytes);
  void forget_rounded() { rounded_ = {}; }
  std::size_t workspace_bytes() const;  // of all slots together, outgrown ones included

  CachingAllocator& allocator() {
    bind();
    return *allocator_;
  }
  UploadRing& uploads() { return *uploads_; }

 private:
  struct Buffer {
    void* data = nullptr;
    std::size_t bytes = 0;
  };
  void open_libraries();

  ContextOptions options_;
  DeviceProperties properties_;
  Stream stream_ = nullptr;
  Buffer buffers_[kSlotCount];
  std::vector<Buffer> outgrown_;
  struct Rounded {
    const float* from = nullptr;
    std::int64_t count = 0;
    const bf16* to = nullptr;
    bool in_graph = false;
  };
  Rounded rounded_;
  std::unique_ptr<CachingAllocator> allocator_;
  std::unique_ptr<UploadRing> uploads_;
  std::unique_ptr<CudnnConvolutions> cudnn_;
  std::unique_ptr<CublasLtProducts> cublaslt_;
  std::vector<std::string> notices_;
};

}  // namespace offramp::cuda
