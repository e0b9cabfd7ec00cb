#include "engine/profiler_window.h"

#include "base/errors.h"

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/runtime.h"
#endif

namespace offramp {

ProfilerWindow::ProfilerWindow(const Device& device, std::int64_t first, std::int64_t last)
    : device_(device), first_(first), last_(last) {
  if (first < 0 || last < first) {
    throw ValueError("profile steps: expected a first step from 0 and a last one not before it, got " +
                     std::to_string(first) + " to " + std::to_string(last));
  }
}

ProfilerWindow::~ProfilerWindow() {
  try {
    turn(false);
  } catch (
      const std::exception&) {  // NOLINT(bugprone-empty-catch): the device is lost, and so is its profile
  }
}

void ProfilerWindow::before(std::int64_t step) {
  const bool inside = step >= first_ && step <= last_;
  if (inside != on_) turn(inside);
}

void ProfilerWindow::turn(bool on) {
  if (on == on_) return;
  on_ = on;
#if OFFRAMP_HAS_CUDA
  if (device_.kind() != DeviceKind::kCuda) return;
  device_.synchronize();
  if (on) {
    cuda::start_profiler();
  } else {
    cuda::stop_profiler();
  }
#endif
}

}  // namespace offramp
