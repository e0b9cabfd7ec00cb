#pragma once
// The memory of tensors on a device. Everything runs on one stream, so a released block may be handed out
// again at once: whoever gets it writes after the last reader of the old contents. No runtime call after
// warm-up.
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>

#include "kernels/cuda/context.h"

namespace offramp::cuda {

class CachingAllocator {
 public:
  enum class Reuse { kNever, kStreamOrdered };
  struct Stats {
    std::size_t live_bytes = 0;            // asked for and not released
    std::size_t peak_bytes = 0;            // most ever live
    std::size_t cached_bytes = 0;          // released and kept
    std::int64_t allocations = 0;          // asked of this allocator
    std::int64_t runtime_allocations = 0;  // asked of the runtime
  };

  explicit CachingAllocator(Reuse reuse) : reuse_(reuse) {}
  ~CachingAllocator();
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  // 256-byte aligned; a request of 0 bytes gets a block of its own. Where the runtime is out of memory the
  // cache is emptied and the request repeated; then DeviceError names request, tag, live and cached bytes.
  void* allocate(std::size_t bytes, const char* tag);
  void release(void* block) noexcept;
  void empty_cache();
  Stats stats() const;

  // Size that a request is served with: multiples of 512 bytes up to 1 MiB, of an eighth of the power of two
  // below it beyond, so that at most one eighth is lost.
  static std::size_t rounded(std::size_t bytes);

 private:
  struct Live {
    std::size_t asked, held;
  };
  void drop_cache();

  mutable std::mutex mutex_;
  Reuse reuse_;
  std::multimap<std::size_t, void*> free_;
  std::unordered_map<void*, Live> live_;
  Stats stats_;
};

// What the engine's device handle calls. Uploads and downloads return when the host memory may be used again.
void* allocate(Context& ctx, std::size_t bytes, const char* tag);
void release(Context& ctx, void* block) noexcept;
void upload(Context& ctx, void* to, const void* from, std::size_t bytes);
void download(Context& ctx, void* to, const void* from, std::size_t bytes);
void copy(Context& ctx, void* to, const void* from, std::size_t bytes);
void set_zero(Context& ctx, void* to, std::size_t bytes);
void synchronize(Context& ctx);

}  // namespace offramp::cuda
