#pragma once
// What goes wrong on a device: a failed runtime call, a launch outside the limits, a kernel that hangs.
#include <stdexcept>

namespace offramp::cuda {

struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace offramp::cuda
