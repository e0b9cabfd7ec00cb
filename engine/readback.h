#pragma once
// Values on their way from a device to the host: copies are put into the stream behind the work that makes
// them, and the host looks later, so that a step need not wait for the one before.
#include <cstddef>
#include <memory>
#include <span>

#include "engine/tensor.h"

namespace offramp {

class Readback {
 public:
  explicit Readback(const Device& device);
  ~Readback();
  Readback(Readback&&) noexcept;
  Readback& operator=(Readback&&) noexcept;

  // Copies the tensors' present values, in stream order. What was read before is lost.
  void start(std::span<const Tensor> tensors);
  // Returns when the copies of the last start() have arrived.
  void wait();
  // Values of tensor i, in memory order, after wait() and until the next start().
  template <class T>
  std::span<const T> values(std::size_t i) const {
    const std::span<const std::byte> b = bytes(i);
    return {reinterpret_cast<const T*>(b.data()), b.size() / sizeof(T)};
  }

 private:
  struct State;
  std::span<const std::byte> bytes(std::size_t i) const;
  std::unique_ptr<State> state_;
};

}  // namespace offramp
