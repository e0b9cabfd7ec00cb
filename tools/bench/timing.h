#pragma once
// Timing shared by the benchmarks: medians, and the two ceilings that results are related to.
#include <vector>

#include "engine/device.h"
#include "engine/tensor.h"

namespace offramp::bench {

double median(std::vector<double> values);

// Median seconds of body() over at least five runs and a quarter of a second, after one run to warm up; waits
// for the device after each.
template <class F>
double median_seconds(const Device& device, F body);

// Float32 values in [0,1), the same for equal seeds.
Tensor random_tensor(const Shape& shape,
                     std::uint64_t seed,
                     const Device& device,
                     DType dtype = DType::kFloat32);

// Float32 multiply-add ceiling: a 512^3 matrix product, GFLOP/s. The clock probe printed beside every result.
double gemm_gflops(const Device& device);
// Copy bandwidth of arrays larger than the caches, GB/s (bytes read plus bytes written).
double copy_gbytes(const Device& device);

// --- inline ---
double seconds_now();

template <class F>
double median_seconds(const Device& device, F body) {
  constexpr double kAtLeast = .25;
  body();
  device.synchronize();
  std::vector<double> times;
  for (double total = 0; times.size() < 5 || total < kAtLeast;) {
    const double begin = seconds_now();
    body();
    device.synchronize();
    times.push_back(seconds_now() - begin);
    total += times.back();
  }
  return median(times);
}

}  // namespace offramp::bench
