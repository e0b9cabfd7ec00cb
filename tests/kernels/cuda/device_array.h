#pragma once
// Device memory with the values of a vector; for tests of the runtime itself, which need no fences.
#include <vector>

#include "kernels/cuda/runtime.h"

namespace offramp::test {

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values)
      : size_(values.size()), data_(static_cast<T*>(cuda::device_malloc(size_ * sizeof(T)))) {
    cuda::copy_async(data_, values.data(), size_ * sizeof(T), cuda::Copy::kHostToDevice, nullptr);
  }
  explicit DeviceArray(std::size_t size) : DeviceArray(std::vector<T>(size)) {}
  ~DeviceArray() { cuda::device_free(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() { return data_; }
  std::size_t size() const { return size_; }
  std::vector<T> values() const {
    std::vector<T> out(size_);
    cuda::copy_async(out.data(), data_, size_ * sizeof(T), cuda::Copy::kDeviceToHost, nullptr);
    cuda::synchronize_device();
    return out;
  }

 private:
  std::size_t size_;
  T* data_;
};

}  // namespace offramp::test
