#pragma once
// One net twice, on the CPU and on the CUDA device, with the same values; and how far their results may be
// apart.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/device.h"
#include "nets/graph/architecture.h"
#include "nets/graph/network.h"
#include "tests/nets/nets.h"
#include "tests/nets/training/memory_source.h"
#include "tests/support/close.h"

namespace offramp::test {

// Empty, or why there is no CUDA device.
inline std::string cuda_missing() {
  try {
    static_cast<void>(Device::cuda());
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

// Skips where there is no device.
class OnCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = cuda_missing(); !why.empty()) GTEST_SKIP() << why;
  }
};

// Four exits, five classes, a few channels on 8x8 pixels.
inline nets::NetOptions tiny_options(const std::string& name) {
  nets::NetOptions o = small_options(name);
  if (o.features == 0) o.side = name == "mobilenet" || name == "wrn-32-4" ? 16 : 8;
  if (name == "mobilenet") o.width_divisor = 16;
  return o;
}

struct TwinNets {
  TwinNets(const nets::NetOptions& options, std::uint64_t seed)
      : cpu(options, Device::cpu()), cuda(options, Device::cuda()) {
    nets::initialize(cpu, seed);
    nets::initialize(cuda, seed);
  }
  nets::Network cpu, cuda;
};

inline double largest(const std::vector<float>& a) {
  double size = 0;
  for (const float v : a) size = std::max(size, std::fabs(double{v}));
  return size;
}

// Largest |a - b|; infinite where one of them is not finite.
inline double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = a.size() == b.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < b.size() && worst < INFINITY; ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return INFINITY;
    worst = std::max(worst, std::fabs(double{a[i]} - double{b[i]}));
  }
  return worst;
}

// The same, over the largest |b|.
inline double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  const double size = largest(b), d = distance(a, b);
  return size > 0 ? d / size : d;
}

}  // namespace offramp::test
