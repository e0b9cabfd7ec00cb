#include "kernels/cuda/memory.h"

#include <algorithm>
#include <bit>
#include <string>

#include "kernels/cuda/error.h"

namespace offramp::cuda {

CachingAllocator::~CachingAllocator() {
  for (const auto& entry : live_) device_free(entry.first);
  drop_cache();
}

std::size_t CachingAllocator::rounded(std::size_t bytes) {
  const std::size_t step = bytes <= (std::size_t{1} << 20) ? 512 : std::bit_floor(bytes) / 8;
  return std::max<std::size_t>((bytes + step - 1) / step * step, 512);
}

void* CachingAllocator::allocate(std::size_t bytes, const char* tag) {
  const std::lock_guard lock(mutex_);
  const std::size_t held = reuse_ == Reuse::kNever ? std::max<std::size_t>(bytes, 1) : rounded(bytes);
  void* block = nullptr;
  const auto cached = free_.find(held);
  if (cached != free_.end()) {
    block = cached->second;
    free_.erase(cached);
    stats_.cached_bytes -= held;
  } else {
    try {
      block = device_malloc(held);
    } catch (const DeviceError&) {
      drop_cache();
      try {
        block = device_malloc(held);
      } catch (const DeviceError&) {
        throw DeviceError("cuda: out of memory: " + std::to_string(bytes) + " bytes for " + tag + ", " +
                          std::to_string(stats_.live_bytes) + " bytes in use");
      }
    }
    ++stats_.runtime_allocations;
  }
  live_[block] = {bytes, held};
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
  if (reuse_ == Reuse::kNever) {
    device_free(block);
    return;
  }
  free_.emplace(size.held, block);
  stats_.cached_bytes += size.held;
}

void CachingAllocator::drop_cache() {
  for (const auto& entry : free_) device_free(entry.second);
  free_.clear();
  stats_.cached_bytes = 0;
}

void CachingAllocator::empty_cache() {
  const std::lock_guard lock(mutex_);
  drop_cache();
}

CachingAllocator::Stats CachingAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void* allocate(Context& ctx, std::size_t bytes, const char* tag) {
  return ctx.allocator().allocate(bytes, tag);
}
void release(Context& ctx, void* block) noexcept { ctx.allocator().release(block); }

void upload(Context& ctx, void* to, const void* from, std::size_t bytes) {
  copy_async(to, from, bytes, Copy::kHostToDevice, ctx.stream());
  synchronize_stream(ctx.stream());
}
void download(Context& ctx, void* to, const void* from, std::size_t bytes) {
  copy_async(to, from, bytes, Copy::kDeviceToHost, ctx.stream());
  synchronize_stream(ctx.stream());
}
void copy(Context& ctx, void* to, const void* from, std::size_t bytes) {
  copy_async(to, from, bytes, Copy::kDeviceToDevice, ctx.stream());
}
void set_zero(Context& ctx, void* to, std::size_t bytes) { memset_async(to, 0, bytes, ctx.stream()); }
void synchronize(Context& ctx) { synchronize_stream(ctx.stream()); }

}  // namespace offramp::cuda
