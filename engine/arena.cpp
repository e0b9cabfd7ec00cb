#include "engine/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>

#include "base/errors.h"
#include "base/memory_limit.h"
#include "kernels/assert.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace offramp {
namespace {

constexpr std::size_t kAlign = 64;
// Under the address sanitizer free ranges are poisoned and each block is followed by a poisoned gap. Behind
// the last block ever given out only kGuard bytes are: marking a reserved range of many GB takes seconds.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kGap = 64, kGuard = std::size_t{16} << 20;
void poison(void* p, std::size_t n) { ASAN_POISON_MEMORY_REGION(p, n); }
void unpoison(void* p, std::size_t n) { ASAN_UNPOISON_MEMORY_REGION(p, n); }
#else
constexpr std::size_t kGap = 0, kGuard = 0;
void poison(void*, std::size_t) {}
void unpoison(void*, std::size_t) {}
#endif

std::string megabytes(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

}  // namespace

Arena::Arena(std::size_t limit_bytes) {
  const bool set = limit_bytes != 0;
  limit_source_ = "the limit that was set";
  if (!set) {
    const MemoryLimit share = tensor_memory_limit();
    limit_bytes = share.bytes;
    limit_source_ = share.source;
  }
  constexpr std::size_t kHugePage = std::size_t{2} << 20, kLeastDefault = std::size_t{64} << 20;
  const auto reserve = [&] {
    reserved_ = (limit_bytes + kHugePage - 1) / kHugePage * kHugePage;
    return mmap(
        nullptr, reserved_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  };
  void* range = reserve();
  // A system that does not overcommit (vm.overcommit_memory = 2) refuses what is not there now: take what is.
  while (range == MAP_FAILED && !set && limit_bytes > kLeastDefault) {
    limit_bytes /= 2;
    limit_source_ = "all that the system would reserve";
    range = reserve();
  }
  if (range == MAP_FAILED) {
    throw OutOfMemoryError("memory: cannot reserve " + megabytes(reserved_) + " of address space (" +
                           limit_source_ + ")");
  }
  madvise(range, reserved_, MADV_HUGEPAGE);
  base_ = static_cast<std::byte*>(range);
  poison(base_, std::min(kGuard, reserved_));
  free_.push_back({0, reserved_});
  stats_.limit_bytes = limit_bytes;
}

Arena::~Arena() {
  unpoison(base_, std::min(stats_.high_water + kGuard, reserved_));
  munmap(base_, reserved_);
}

void* Arena::allocate(std::size_t bytes, const char* tag) {
  const std::lock_guard lock(mutex_);
  const auto refuse = [&] {
    throw OutOfMemoryError(std::string("memory: ") + tag + " needs " + megabytes(bytes) + ", " +
                           megabytes(stats_.live_bytes) + " of " + megabytes(stats_.limit_bytes) +
                           " are in use (" + limit_source_ + "); use a smaller batch or network");
  };
  if (bytes > reserved_) refuse();
  const std::size_t rounded = std::max<std::size_t>(bytes + kAlign - 1, kAlign) / kAlign * kAlign + kGap;
  const auto hole =
      std::find_if(free_.begin(), free_.end(), [&](const Range& r) { return r.bytes >= rounded; });
  if (hole == free_.end() || hole->offset + rounded > stats_.limit_bytes) refuse();
  const Block block{hole->offset, rounded, tag};
  hole->offset += rounded;
  hole->bytes -= rounded;
  if (hole->bytes == 0) free_.erase(hole);
  live_.insert(std::upper_bound(live_.begin(),
                                live_.end(),
                                block.offset,
                                [](std::size_t at, const Block& b) { return at < b.offset; }),
               block);
  ++stats_.allocations;
  stats_.live_bytes += rounded;
  if (const std::size_t end = block.offset + rounded; end > stats_.high_water) {
    const std::size_t guarded = std::min(stats_.high_water + kGuard, reserved_);
    stats_.high_water = end;
    poison(base_ + guarded, std::min(end + kGuard, reserved_) - guarded);
  }
  if (stats_.live_bytes > stats_.peak_bytes) {
    stats_.peak_bytes = stats_.live_bytes;
    if (trace_) peak_ = live_;
  }
  unpoison(base_ + block.offset, rounded - kGap);
  return base_ + block.offset;
}

void Arena::release(void* data) {
  const std::lock_guard lock(mutex_);
  const auto offset = static_cast<std::size_t>(static_cast<std::byte*>(data) - base_);
  const auto block = std::lower_bound(
      live_.begin(), live_.end(), offset, [](const Block& b, std::size_t at) { return b.offset < at; });
  OFFRAMP_ASSERT(block != live_.end() && block->offset == offset);
  Range range{block->offset, block->bytes};
  stats_.live_bytes -= range.bytes;
  live_.erase(block);
  poison(base_ + range.offset, range.bytes);
  auto next = std::lower_bound(
      free_.begin(), free_.end(), offset, [](const Range& r, std::size_t at) { return r.offset < at; });
  if (next != free_.end() && range.offset + range.bytes == next->offset) {
    range.bytes += next->bytes;
    next = free_.erase(next);
  }
  if (next != free_.begin() && std::prev(next)->offset + std::prev(next)->bytes == range.offset) {
    std::prev(next)->bytes += range.bytes;
  } else {
    free_.insert(next, range);
  }
}

Arena::Stats Arena::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void Arena::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.live_bytes;
  peak_ = trace_ ? live_ : std::vector<Block>{};
}

void Arena::trace_peak(bool on) {
  const std::lock_guard lock(mutex_);
  trace_ = on;
}

std::string Arena::plan(std::size_t max_rows) const {
  const std::lock_guard lock(mutex_);
  std::string text = "memory: peak " + megabytes(stats_.peak_bytes) + ", touched " +
                     megabytes(stats_.high_water) + ", " + std::to_string(stats_.allocations) +
                     " allocations\n";
  std::vector<Block> rows = peak_;
  std::stable_sort(
      rows.begin(), rows.end(), [](const Block& a, const Block& b) { return a.bytes > b.bytes; });
  const std::size_t shown = std::min(rows.size(), max_rows);
  for (std::size_t i = 0; i < shown; ++i) {
    text += "  at " + megabytes(rows[i].offset) + ": " + megabytes(rows[i].bytes) + " " + rows[i].tag + "\n";
  }
  if (shown < rows.size()) text += "  and " + std::to_string(rows.size() - shown) + " smaller blocks\n";
  return text;
}

}  // namespace offramp
