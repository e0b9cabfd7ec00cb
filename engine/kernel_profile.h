#pragma once
// Kernels of a CUDA device by time, while a piece of work runs (kernels/cuda/kernel_times.h).
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/device.h"

namespace offramp {

struct KernelRow {
  std::string name;
  std::int64_t launches = 0;
  double seconds = 0, shortest = 0, longest = 0;
  int registers = 0;
  std::int64_t shared_bytes = 0, blocks = 0;
  int threads = 0;
};

// Empty where kernels of the device can be timed, else what is missing.
std::string why_no_kernel_profile(const Device& device);
// Longest first. Throws DeviceError with what is missing.
std::vector<KernelRow> profile_kernels(const Device& device, const std::function<void()>& work);

}  // namespace offramp
