#include "engine/readback.h"

#include <cstring>
#include <vector>

#include "kernels/assert.h"

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/memory.h"
#endif

namespace offramp {
namespace {

constexpr std::size_t kAlignment = 64;

}  // namespace

struct Readback::State {
  explicit State(const Device& on) : device(on) {}
  ~State() { release(); }

  void release() {
#if OFFRAMP_HAS_CUDA
    if (device.kind() == DeviceKind::kCuda) {
      if (arrived != nullptr) cuda::destroy_event(arrived);
      cuda::pinned_free(memory);
      arrived = nullptr;
      memory = nullptr;
      return;
    }
#endif
    delete[] memory;
    memory = nullptr;
  }

  void reserve(std::size_t bytes) {
    if (bytes <= capacity) return;
    release();
    capacity = bytes;
#if OFFRAMP_HAS_CUDA
    if (device.kind() == DeviceKind::kCuda) {
      memory = static_cast<std::byte*>(cuda::pinned_malloc(bytes));
      arrived = cuda::create_event(cuda::Timing::kNo);
      return;
    }
#endif
    memory = new std::byte[bytes];
  }

  void copy(std::byte* to, const Tensor& from) const {
#if OFFRAMP_HAS_CUDA
    if (device.kind() == DeviceKind::kCuda) {
      return cuda::copy_async(
          to, from.raw(), from.bytes(), cuda::Copy::kDeviceToHost, device.cuda_context().stream());
    }
#endif
    if (from.bytes() > 0) std::memcpy(to, from.raw(), from.bytes());
  }

  Device device;
  std::byte* memory = nullptr;
  std::size_t capacity = 0;
  std::vector<std::span<const std::byte>> parts;
#if OFFRAMP_HAS_CUDA
  cuda::Event arrived = nullptr;
#endif
};

Readback::Readback(const Device& device) : state_(std::make_unique<State>(device)) {}
Readback::~Readback() = default;
Readback::Readback(Readback&&) noexcept = default;
Readback& Readback::operator=(Readback&&) noexcept = default;

void Readback::start(std::span<const Tensor> tensors) {
  std::size_t bytes = 0;
  for (const Tensor& t : tensors) bytes += (t.bytes() + kAlignment - 1) / kAlignment * kAlignment;
  wait();  // a copy may still be on its way into memory that reserve() would free
  state_->reserve(bytes);
  state_->parts.clear();
  std::size_t at = 0;
  for (const Tensor& t : tensors) {
    state_->copy(state_->memory + at, t);
    state_->parts.emplace_back(state_->memory + at, t.bytes());
    at += (t.bytes() + kAlignment - 1) / kAlignment * kAlignment;
  }
#if OFFRAMP_HAS_CUDA
  if (state_->arrived != nullptr) {
    cuda::record_event(state_->arrived, state_->device.cuda_context().stream());
  }
#endif
}

void Readback::wait() {
#if OFFRAMP_HAS_CUDA
  if (state_->arrived != nullptr) cuda::synchronize_event(state_->arrived);
#endif
}

std::span<const std::byte> Readback::bytes(std::size_t i) const {
  OFFRAMP_ASSERT(i < state_->parts.size());
  return state_->parts[i];
}

}  // namespace offramp
