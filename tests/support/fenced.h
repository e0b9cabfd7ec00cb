#pragma once
// A device buffer with guard bytes on both sides and poisoned contents: NaN for float and bf16, 0xA5 bytes
// for integers. The guards are checked when it is destroyed, so a kernel that writes past its output fails
// the test.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "tests/support/backends.h"

namespace offramp::test {

template <class T, class Device = CpuDevice>
class Fenced {
 public:
  // `offset` elements are added to the aligned start: 1 makes every vector load of the kernel misaligned.
  explicit Fenced(std::size_t count, std::size_t offset = 0) : count_(count), offset_(offset) {
    memory_ = static_cast<unsigned char*>(Device::allocate(total_bytes()));
    const std::vector<unsigned char> guard(total_bytes(), kGuard);
    Device::upload(memory_, guard.data(), guard.size());
    assign(std::vector<T>(count, poison()));
  }
  explicit Fenced(const std::vector<T>& values, std::size_t offset = 0) : Fenced(values.size(), offset) {
    assign(values);
  }
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;
  ~Fenced() {
    std::vector<unsigned char> bytes(total_bytes());
    Device::download(bytes.data(), memory_, bytes.size());
    const std::size_t begin = first_byte(), end = begin + count_ * sizeof(T);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if ((i >= begin && i < end) || bytes[i] == kGuard) continue;
      ADD_FAILURE() << "written outside of the buffer: byte "
                    << static_cast<std::int64_t>(i) - static_cast<std::int64_t>(begin) << " of a buffer of "
                    << end - begin << " bytes (" << Device::name() << ")";
      break;
    }
    Device::release(memory_);
  }

  T* data() { return reinterpret_cast<T*>(memory_ + first_byte()); }
  const T* data() const { return reinterpret_cast<const T*>(memory_ + first_byte()); }
  std::size_t size() const { return count_; }

  void assign(const std::vector<T>& values) {
    Device::upload(data(), values.data(), values.size() * sizeof(T));
  }
  std::vector<T> values() const {
    std::vector<T> out(count_);
    Device::download(out.data(), data(), count_ * sizeof(T));
    return out;
  }

  static T poison() {
    if constexpr (std::is_same_v<T, bf16>) {
      return bf16(std::numeric_limits<float>::quiet_NaN());
    } else if constexpr (std::is_floating_point_v<T>) {
      return std::numeric_limits<T>::quiet_NaN();
    } else {
      T value;
      std::memset(static_cast<void*>(&value), 0xa5, sizeof value);
      return value;
    }
  }

 private:
  static constexpr std::size_t kGuardBytes = 256;
  static constexpr unsigned char kGuard = 0xc9;
  std::size_t first_byte() const { return kGuardBytes + offset_ * sizeof(T); }
  std::size_t total_bytes() const { return first_byte() + count_ * sizeof(T) + kGuardBytes; }

  std::size_t count_, offset_;
  unsigned char* memory_ = nullptr;
};

}  // namespace offramp::test
