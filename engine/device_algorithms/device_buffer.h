#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/errors.h"
#include "engine/device.h"

namespace offramp::device_algorithms {

inline void require_cuda(const char* what, const Device& device) {
  if (device.kind() != DeviceKind::kCuda) {
    throw ValueError(std::string(what) + ": a cuda device is wanted, got " + device.name());
  }
}

// Device memory for the length of a call.
template <class T>
class Buffer {
 public:
  Buffer(const Device& device, std::size_t size)
      : device_(device),
        size_(size),
        data_(static_cast<T*>(device.allocate(size * sizeof(T), "algorithm"))) {}
  Buffer(const Device& device, std::span<const T> values) : Buffer(device, values.size()) { assign(values); }
  ~Buffer() { device_.release(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() const { return data_; }
  void assign(std::span<const T> values) {
    if (!values.empty()) device_.upload(data_, values.data(), values.size() * sizeof(T));
  }
  std::vector<T> values(std::size_t count) const {
    std::vector<T> out(count);
    if (count > 0) device_.download(out.data(), data_, count * sizeof(T));
    return out;
  }
  std::vector<T> values() const { return values(size_); }

 private:
  Device device_;
  std::size_t size_;
  T* data_;
};

}  // namespace offramp::device_algorithms
