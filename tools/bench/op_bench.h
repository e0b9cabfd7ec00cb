#pragma once
// Single kernels at the sizes of ResNet-56 at a given batch, with the bytes and floating-point operations
// that they must move and make, so that a time can be read as a share of a ceiling.
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/tensor.h"

namespace offramp::bench {

struct OpTiming {
  std::string op;      // "conv2d_forward"
  std::string detail;  // "16x32x32 -> 16, 3x3"
  double ms = 0;
  double gbytes = 0;  // read and written, each tensor once
  double gflop = 0;
  double gbytes_per_s() const { return gbytes / ms * 1e3; }
  double gflops() const { return gflop / ms * 1e3; }
};

// Runs every kernel whose name contains `filter` (empty: all). dtype: of the activations.
std::vector<OpTiming> measure_ops(const std::string& filter, int batch, DType dtype, const Device& device);

}  // namespace offramp::bench
