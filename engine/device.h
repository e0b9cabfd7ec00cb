#pragma once
// A Device is a handle to one back end: its kernel context and its memory. Handles are cheap to copy and
// compare.
#include <memory>
#include <string>
#include <utility>

#include "engine/arena.h"
#include "kernels/cpu/context.h"

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/context.h"
#endif

namespace offramp {

enum class DeviceKind { kCpu, kCuda };

class Device {
 public:
  // The process-wide CPU device; made on first use, with all threads unless set_cpu_defaults came before.
  static Device cpu();
  // Throws ValueError once cpu() was used.
  static void set_cpu_defaults(const cpu::ContextOptions& options, std::size_t memory_limit = 0);
  // A CPU device of its own: another thread count, another convolution, a memory limit.
  static Device make_cpu(const cpu::ContextOptions& options, std::size_t memory_limit = 0);
  // Throws DeviceError where the build or the machine has no CUDA.
  static Device cuda();
  // "cpu" or "cuda"; anything else is a ValueError that lists them.
  static Device by_name(const std::string& name);

  DeviceKind kind() const;
  const char* name() const { return kind() == DeviceKind::kCpu ? "cpu" : "cuda"; }
  cpu::Context& cpu_context() const;
#if OFFRAMP_HAS_CUDA
  cuda::Context& cuda_context() const;
#endif

  void* allocate(std::size_t bytes, const char* tag) const;
  void release(void* block) const noexcept;
  // Host memory to device memory and back, and within the device. Downloads wait for everything before them.
  void upload(void* to, const void* from, std::size_t bytes) const;
  void download(void* to, const void* from, std::size_t bytes) const;
  void copy(void* to, const void* from, std::size_t bytes) const;
  void set_zero(void* to, std::size_t bytes) const;
  void synchronize() const;

  Arena::Stats memory() const;
  std::string memory_plan() const;
  void trace_memory(bool on) const;
  void reset_peak() const;

  friend bool operator==(const Device&, const Device&) = default;

 private:
  struct State;
  explicit Device(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

// Calls f(context) with the context of the device's back end; the kernel overload is found by its namespace.
template <class F>
void dispatch(const Device& device, F&& f) {
#if OFFRAMP_HAS_CUDA
  if (device.kind() == DeviceKind::kCuda) {
    f(device.cuda_context());
    return;
  }
#endif
  f(device.cpu_context());
}

}  // namespace offramp
