#pragma once
// The memory of tensors on a device. Everything runs on one stream, so a released block may be handed out
// again at once: whoever gets it writes after the last reader of the old contents. No runtime call after
// warm-up.
//
// A captured graph writes the same addresses at every launch, so what is allocated while a step is recorded
// comes from a pool of its own and goes back there: nobody else gets it as long as the pool lives.
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

  // Pools, by number. Between enter_pool and leave_pool every allocation is served from that pool; with
  // Growth::kRefused a request that no released block of it fits throws DeviceError. A block goes back to the
  // pool that it came from, whenever that is. drop_pool gives released blocks back to the runtime; those
  // still in use follow when they are released.
  enum class Growth { kAllowed, kRefused };
  int make_pool();
  void enter_pool(int pool, Growth growth);
  void leave_pool();
  void drop_pool(int pool);

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
    int pool;
  };
  static constexpr int kShared = 0;  // no pool
  using FreeBlocks = std::multimap<std::size_t, void*>;
  void drop(FreeBlocks& blocks);
  void* grow(std::size_t held, std::size_t bytes, const char* tag);

  mutable std::mutex mutex_;
  Reuse reuse_;
  std::map<int, FreeBlocks> free_{{kShared, {}}};
  int current_pool_ = kShared, pools_made_ = 0;
  Growth growth_ = Growth::kAllowed;
  std::unordered_map<void*, Live> live_;
  Stats stats_;
};

// Uploads without a wait: the bytes are copied to page-locked memory, of which there are a few blocks in
// turn, and from there in stream order.
class UploadRing {
 public:
  UploadRing() = default;
  ~UploadRing();
  UploadRing(const UploadRing&) = delete;
  UploadRing& operator=(const UploadRing&) = delete;
  void upload(Stream stream, void* to, const void* from, std::size_t bytes);

 private:
  struct Block {
    void* data = nullptr;
    std::size_t bytes = 0;
    Event copied = nullptr;
  };
  static constexpr std::size_t kBlocks = 4;
  Block blocks_[kBlocks];
  std::size_t next_ = 0;
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
