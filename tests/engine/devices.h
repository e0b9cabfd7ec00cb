#pragma once
// The devices that engine tests run on: "cpu" (two threads), "cpu_native" (our own convolution), and "cuda"
// where the build has it.
#include <string>
#include <vector>

#include "engine/device.h"

namespace offramp::test {

inline std::vector<std::string> device_names() {
  std::vector<std::string> names{"cpu", "cpu_native"};
#if OFFRAMP_HAS_CUDA
  names.push_back("cuda");
#endif
  return names;
}

inline Device device_named(const std::string& name) {
  static const Device library = Device::make_cpu({.threads = 2});
  static const Device native = Device::make_cpu({.threads = 2, .conv = cpu::ConvBackend::kNative});
  if (name == "cpu") return library;
  if (name == "cpu_native") return native;
  return Device::cuda();
}

// Empty, or why tests on it are skipped.
inline std::string device_missing(const std::string& name) {
#if OFFRAMP_HAS_CUDA
  if (name == "cuda") {
    try {
      device_named(name);
    } catch (const std::exception& error) {
      return error.what();
    }
  }
#endif
  return name.empty() ? "no device" : "";
}

}  // namespace offramp::test
