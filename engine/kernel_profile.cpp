#include "engine/kernel_profile.h"

#include "base/errors.h"

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/kernel_times.h"
#endif

namespace offramp {

std::string why_no_kernel_profile(const Device& device) {
#if OFFRAMP_HAS_CUDA
  if (device.kind() == DeviceKind::kCuda) return cuda::why_no_kernel_times();
#endif
  return std::string("kernels are timed on cuda, the device is ") + device.name();
}

std::vector<KernelRow> profile_kernels(const Device& device,
                                       [[maybe_unused]] const std::function<void()>& work) {
  if (const std::string why = why_no_kernel_profile(device); !why.empty()) {
    throw DeviceError("kernel times: " + why);
  }
  std::vector<KernelRow> rows;
#if OFFRAMP_HAS_CUDA
  cuda::start_kernel_times();
  work();
  for (const cuda::KernelTime& t : cuda::stop_kernel_times()) {
    rows.push_back({t.name,
                    t.launches,
                    t.seconds,
                    t.shortest,
                    t.longest,
                    t.registers,
                    t.shared_bytes,
                    t.blocks,
                    t.threads});
  }
#endif
  return rows;
}

}  // namespace offramp
