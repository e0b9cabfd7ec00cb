#include "kernels/cuda/host/shared_memory.h"

#include <cstring>
#include <string>

#include "base/errors.h"
#include "kernels/cuda/host/sanitizers.h"

namespace offramp::cuda::host {

void SharedMemory::Array::poison() {
  // TSan forgets the accesses of the block before only when the memory is new.
  if (bytes == nullptr || kRaceChecked) bytes.reset(new unsigned char[size]);
  std::memset(bytes.get(), 0xFF, size);
}

void SharedMemory::begin_launch(std::size_t dynamic_bytes, bool opts_in) {
  dynamic_.bytes.reset();
  dynamic_.size = dynamic_bytes;
  limit_ = opts_in ? kMaxSharedBytes : kMaxStaticShared;
}

void SharedMemory::start_block() {
  if constexpr (kRaceChecked) {
    static_.clear();
    static_bytes_ = 0;
  }
  for (auto& entry : static_) entry.second.poison();
  if (dynamic_.size != 0) dynamic_.poison();
}

void SharedMemory::clear() {
  static_.clear();
  static_bytes_ = 0;
  begin_launch(0, false);
}

void* SharedMemory::array(const void* declaration, std::size_t bytes) {
  Array& found = static_[declaration];
  if (found.bytes == nullptr) {
    static_bytes_ += bytes;
    if (static_bytes_ > kMaxStaticShared || static_bytes_ + dynamic_.size > limit_) {
      throw DeviceError("shared memory: expected at most " + std::to_string(kMaxStaticShared) +
                        " bytes of static arrays and " + std::to_string(limit_) + " bytes in all, got " +
                        std::to_string(static_bytes_) + " static and " + std::to_string(dynamic_.size) +
                        " dynamic");
    }
    found.size = bytes;
    found.poison();
  }
  return found.bytes.get();
}

}  // namespace offramp::cuda::host
