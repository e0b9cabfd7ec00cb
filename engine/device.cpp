#include "engine/device.h"

#include <cstring>
#include <variant>

#include "base/errors.h"

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/memory.h"
#include "kernels/cuda/nvtx.h"
#endif

namespace offramp {

struct CpuState {
  explicit CpuState(const cpu::ContextOptions& options, std::size_t limit) : context(options), arena(limit) {}
  cpu::Context context;
  Arena arena;
};

#if OFFRAMP_HAS_CUDA
struct Device::State {
  std::variant<std::unique_ptr<CpuState>, std::unique_ptr<cuda::Context>> back_end;
};
#else
struct Device::State {
  std::variant<std::unique_ptr<CpuState>> back_end;
};
#endif

Device Device::make_cpu(const cpu::ContextOptions& options, std::size_t memory_limit) {
  auto state = std::make_shared<State>();
  state->back_end = std::make_unique<CpuState>(options, memory_limit);
  return Device(std::move(state));
}

namespace {

struct CpuDefaults {
  cpu::ContextOptions options;
  std::size_t memory_limit = 0;
  bool used = false;
};

CpuDefaults& cpu_defaults() {
  static CpuDefaults defaults;
  return defaults;
}

}  // namespace

Device Device::cpu() {
  static const Device device = [] {
    cpu_defaults().used = true;
    return make_cpu(cpu_defaults().options, cpu_defaults().memory_limit);
  }();
  return device;
}

void Device::set_cpu_defaults(const cpu::ContextOptions& options, std::size_t memory_limit) {
  if (cpu_defaults().used) throw ValueError("device: the CPU device is in use already");
  cpu_defaults().options = options;
  cpu_defaults().memory_limit = memory_limit;
}

Device Device::cuda() {
#if OFFRAMP_HAS_CUDA
  // Never destroyed: when statics go, the libraries that its context would call may be gone already.
  static const Device& device = *new Device([] {
    auto state = std::make_shared<State>();
    state->back_end = std::make_unique<cuda::Context>();
    if (range_listener == nullptr) range_listener = cuda::nvtx_listener();
    return Device(std::move(state));
  }());
  return device;
#else
  throw DeviceError("cuda: this build has no CUDA back end (configure with -DOFFRAMP_CUDA=on)");
#endif
}

Device Device::by_name(const std::string& name) {
  if (name == "cpu") return cpu();
  if (name == "cuda") return cuda();
  throw ValueError("device: expected cpu or cuda, got " + in_quotes(name));
}

DeviceKind Device::kind() const {
  return state_->back_end.index() == 0 ? DeviceKind::kCpu : DeviceKind::kCuda;
}

cpu::Context& Device::cpu_context() const { return std::get<0>(state_->back_end)->context; }

void* Device::allocate(std::size_t bytes, const char* tag) const {
#if OFFRAMP_HAS_CUDA
  if (kind() == DeviceKind::kCuda) return cuda::allocate(cuda_context(), bytes, tag);
#endif
  return std::get<0>(state_->back_end)->arena.allocate(bytes, tag);
}

void Device::release(void* block) const noexcept {
#if OFFRAMP_HAS_CUDA
  if (kind() == DeviceKind::kCuda) return cuda::release(cuda_context(), block);
#endif
  std::get<0>(state_->back_end)->arena.release(block);
}

#if OFFRAMP_HAS_CUDA

cuda::Context& Device::cuda_context() const { return *std::get<1>(state_->back_end); }

void Device::upload(void* to, const void* from, std::size_t bytes) const {
  if (bytes == 0) return;
  if (kind() == DeviceKind::kCuda) return cuda::upload(cuda_context(), to, from, bytes);
  std::memcpy(to, from, bytes);
}

void Device::download(void* to, const void* from, std::size_t bytes) const {
  if (bytes == 0) return;
  if (kind() == DeviceKind::kCuda) return cuda::download(cuda_context(), to, from, bytes);
  std::memcpy(to, from, bytes);
}

void Device::copy(void* to, const void* from, std::size_t bytes) const {
  if (bytes == 0) return;
  if (kind() == DeviceKind::kCuda) return cuda::copy(cuda_context(), to, from, bytes);
  std::memcpy(to, from, bytes);
}

void Device::set_zero(void* to, std::size_t bytes) const {
  if (bytes == 0) return;
  if (kind() == DeviceKind::kCuda) return cuda::set_zero(cuda_context(), to, bytes);
  std::memset(to, 0, bytes);
}

void Device::synchronize() const {
  if (kind() == DeviceKind::kCuda) cuda::synchronize(cuda_context());
}

#else

void Device::upload(void* to, const void* from, std::size_t bytes) const {
  if (bytes) std::memcpy(to, from, bytes);
}
void Device::download(void* to, const void* from, std::size_t bytes) const { upload(to, from, bytes); }
void Device::copy(void* to, const void* from, std::size_t bytes) const { upload(to, from, bytes); }
void Device::set_zero(void* to, std::size_t bytes) const {
  if (bytes) std::memset(to, 0, bytes);
}
void Device::synchronize() const {}

#endif

Arena::Stats Device::memory() const {
  if (kind() == DeviceKind::kCpu) return std::get<0>(state_->back_end)->arena.stats();
  return {};
}

std::string Device::memory_plan() const {
  if (kind() == DeviceKind::kCpu) return std::get<0>(state_->back_end)->arena.plan();
  return {};
}

void Device::trace_memory(bool on) const {
  if (kind() == DeviceKind::kCpu) std::get<0>(state_->back_end)->arena.trace_peak(on);
}

void Device::reset_peak() const {
  if (kind() == DeviceKind::kCpu) std::get<0>(state_->back_end)->arena.reset_peak();
}

}  // namespace offramp
