#pragma once
// What the CPU kernels share: thread count, scratch memory, and the cache of library primitives by geometry.
// One context is used by one thread at a time; kernels spread over `threads()` threads inside.
#include <cstddef>
#include <memory>

namespace offramp::cpu {

// Which convolution and matrix product: oneDNN (where the build has it) or our own.
enum class ConvBackend { kLibrary, kNative };

struct ContextOptions {
  int threads = 0;  // 0: as many as the process may use
  ConvBackend conv = ConvBackend::kLibrary;
  bool winograd =
      true;  // 3x3 convolutions by F(4x4, 3x3) where it is faster; false: direct, a tenth of the error
};

class Context {
 public:
  explicit Context(const ContextOptions& options = {});
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  int threads() const { return threads_; }
  // kNative where the build has no oneDNN, whatever was asked for.
  ConvBackend conv_backend() const { return conv_; }
  bool winograd() const { return winograd_; }

  // Scratch of at least `bytes`, 64-byte aligned, valid until the next call with the same slot. Grows, never
  // shrinks. Throws OutOfMemoryError.
  enum Slot { kPacked, kPartials, kColumns, kStage, kLibraryScratch, kSlotCount };
  void* workspace(Slot slot, std::size_t bytes);
  std::size_t workspace_bytes() const;  // of all slots together

  struct Primitives;  // kernels/cpu/onednn.h
  Primitives& primitives() { return *primitives_; }

 private:
  struct Buffer {
    void* data = nullptr;
    std::size_t bytes = 0;
  };
  int threads_;
  ConvBackend conv_;
  bool winograd_;
  Buffer buffers_[kSlotCount];
  std::unique_ptr<Primitives> primitives_;
};

}  // namespace offramp::cpu
