#include "kernels/cuda/memory.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "base/errors.h"

namespace offramp::cuda {

CachingAllocator::~CachingAllocator() {
  for (const auto& entry : live_) device_free(entry.first);
  for (auto& entry : free_) drop(entry.second);
}

std::size_t CachingAllocator::rounded(std::size_t bytes) {
  const std::size_t step = bytes <= (std::size_t{1} << 20) ? 512 : std::bit_floor(bytes) / 8;
  return std::max<std::size_t>((bytes + step - 1) / step * step, 512);
}

void* CachingAllocator::allocate(std::size_t bytes, const char* tag) {
  const std::lock_guard lock(mutex_);
  const std::size_t held = reuse_ == Reuse::kNever ? std::max<std::size_t>(bytes, 1) : rounded(bytes);
  void* block = nullptr;
  FreeBlocks& free = free_.at(current_pool_);
  const auto cached = free.find(held);
  if (cached != free.end()) {
    block = cached->second;
    free.erase(cached);
    stats_.cached_bytes -= held;
  } else {
    block = grow(held, bytes, tag);
  }
  live_[block] = {bytes, held, current_pool_};
  ++stats_.allocations;
  stats_.live_bytes += bytes;
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
  return block;
}

void CachingAllocator::release(void* block) noexcept {
  if (block == nullptr) return;
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(block);
  if (found == live_.end()) return;  // a destructor's call after the context is gone
  const Live size = found->second;
  live_.erase(found);
  stats_.live_bytes -= size.asked;
  const auto pool = free_.find(size.pool);
  if (pool == free_.end() || (size.pool == kShared && reuse_ == Reuse::kNever)) {
    device_free(block);
    return;
  }
  pool->second.emplace(size.held, block);
  stats_.cached_bytes += size.held;
}

void* CachingAllocator::grow(std::size_t held, std::size_t bytes, const char* tag) {
  if (growth_ == Growth::kRefused) {
    throw DeviceError(
        "cuda: " + std::to_string(bytes) + " bytes for " + tag +
        " are asked for while a step is captured, and its pool has no such block; a captured step "
        "must ask for the same memory each time");
  }
  ++stats_.runtime_allocations;
  try {
    return device_malloc(held);
  } catch (const DeviceError&) {
    drop(free_.at(kShared));
  }
  try {
    return device_malloc(held);
  } catch (const DeviceError&) {
    throw DeviceError("cuda: out of memory: " + std::to_string(bytes) + " bytes for " + tag + ", " +
                      std::to_string(stats_.live_bytes) + " bytes in use");
  }
}

void CachingAllocator::drop(FreeBlocks& blocks) {
  for (const auto& [bytes, block] : blocks) {
    device_free(block);
    stats_.cached_bytes -= bytes;
  }
  blocks.clear();
}

void CachingAllocator::empty_cache() {
  const std::lock_guard lock(mutex_);
  drop(free_.at(kShared));
}

int CachingAllocator::make_pool() {
  const std::lock_guard lock(mutex_);
  free_[++pools_made_];
  return pools_made_;
}

void CachingAllocator::enter_pool(int pool, Growth growth) {
  const std::lock_guard lock(mutex_);
  current_pool_ = pool;
  growth_ = growth;
}

void CachingAllocator::leave_pool() {
  const std::lock_guard lock(mutex_);
  current_pool_ = kShared;
  growth_ = Growth::kAllowed;
}

void CachingAllocator::drop_pool(int pool) {
  const std::lock_guard lock(mutex_);
  const auto found = free_.find(pool);
  if (found == free_.end()) return;
  drop(found->second);
  free_.erase(found);
}

CachingAllocator::Stats CachingAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void* allocate(Context& ctx, std::size_t bytes, const char* tag) {
  return ctx.allocator().allocate(bytes, tag);
}
void release(Context& ctx, void* block) noexcept {
  ctx.written(block, 1);
  ctx.allocator().release(block);
}

UploadRing::~UploadRing() {
  for (const Block& block : blocks_) {
    pinned_free(block.data);
    if (block.copied != nullptr) destroy_event(block.copied);
  }
}

void UploadRing::upload(Stream stream, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  // A recorded copy would read the page-locked block again at every launch.
  if (is_capturing(stream)) throw DeviceError("cuda: an upload while a step is captured");
  Block& block = blocks_[next_++ % kBlocks];
  if (block.copied == nullptr) {
    block.copied = create_event(Timing::kNo);
  } else {
    synchronize_event(block.copied);
  }
  if (block.bytes < bytes) {
    pinned_free(block.data);
    block = {nullptr, 0, block.copied};
    block.data = pinned_malloc(bytes);
    block.bytes = bytes;
  }
  std::memcpy(block.data, from, bytes);
  copy_async(to, block.data, bytes, Copy::kHostToDevice, stream);
  record_event(block.copied, stream);
}

void upload(Context& ctx, void* to, const void* from, std::size_t bytes) {
  ctx.written(to, bytes);
  constexpr std::size_t kRingBytes = std::size_t{32} << 20;
  if (bytes <= kRingBytes) return ctx.uploads().upload(ctx.stream(), to, from, bytes);
  copy_async(to, from, bytes, Copy::kHostToDevice, ctx.stream());
  synchronize_stream(ctx.stream());
}
void download(Context& ctx, void* to, const void* from, std::size_t bytes) {
  copy_async(to, from, bytes, Copy::kDeviceToHost, ctx.stream());
  synchronize_stream(ctx.stream());
}
void copy(Context& ctx, void* to, const void* from, std::size_t bytes) {
  ctx.written(to, bytes);
  copy_async(to, from, bytes, Copy::kDeviceToDevice, ctx.stream());
}
void set_zero(Context& ctx, void* to, std::size_t bytes) {
  ctx.written(to, bytes);
  memset_async(to, 0, bytes, ctx.stream());
}
void synchronize(Context& ctx) { synchronize_stream(ctx.stream()); }

}  // namespace offramp::cuda
