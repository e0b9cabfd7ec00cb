#pragma once
// Device memory of the CPU: first fit in one reserved address range whose pages are committed as they are
// touched (MAP_NORESERVE), so that the high-water mark follows the live peak and nothing is asked of the
// system after the first step. Blocks are 64-byte aligned. Deterministic: the same calls give the same
// offsets.
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace offramp {

class Arena {
 public:
  struct Stats {
    std::size_t live_bytes = 0;   // in use now
    std::size_t peak_bytes = 0;   // most ever in use
    std::size_t high_water = 0;   // end of the highest block ever used: what the process touched
    std::size_t limit_bytes = 0;  // allocations beyond it fail
    std::int64_t allocations = 0;
  };

  // limit 0: that of tensor_memory_limit().
  explicit Arena(std::size_t limit_bytes = 0);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Throws OutOfMemoryError that names the request, what is live, the limit and whose limit it is. `tag` (a
  // string literal) is what plan() prints. A request of 0 bytes gets a distinct block.
  void* allocate(std::size_t bytes, const char* tag);
  void release(void* block);

  Stats stats() const;
  // Forgets the peak, so that the next plan is that of the steps to come.
  void reset_peak();
  // From now on every new peak remembers its blocks (costs a copy per new peak); plan() lists them largest
  // first.
  void trace_peak(bool on);
  std::string plan(std::size_t max_rows = 20) const;

 private:
  struct Range {
    std::size_t offset, bytes;
  };
  struct Block {
    std::size_t offset, bytes;
    const char* tag;
  };
  mutable std::mutex mutex_;
  std::string limit_source_;
  std::byte* base_ = nullptr;
  std::size_t reserved_ = 0;
  std::vector<Range> free_;  // by offset, never adjacent
  std::vector<Block> live_;  // by offset
  std::vector<Block> peak_;  // the live blocks at the last new peak, when traced
  bool trace_ = false;
  Stats stats_;
};

}  // namespace offramp
