#include "tools/bench/timing.h"

#include <algorithm>
#include <chrono>

#include "engine/ops.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"

namespace offramp::bench {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

Tensor random_tensor(const Shape& shape, std::uint64_t seed, const Device& device, DType dtype) {
  const PhiloxKey key{.seed = seed, .stream = 1};
  std::vector<float> values(static_cast<std::size_t>(shape.size()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = key.uniform(i);
  return convert(Tensor::from<float>(shape, values, device), dtype);
}

double gemm_gflops(const Device& device) {
  constexpr int kSide = 512;
  const LinearGeom g{.rows = kSide, .in = kSide, .out = kSide};
  const Tensor a = random_tensor({kSide, kSide}, 1, device);
  Tensor y = Tensor::empty({kSide, kSide}, device);
  float* out = y.data();
  const double seconds = median_seconds(device, [&] {
    dispatch(device, [&](auto& ctx) { linear_forward(ctx, g, a.data(), a.data(), nullptr, out); });
  });
  return 2.0 * kSide * kSide * kSide / seconds / 1e9;
}

double copy_gbytes(const Device& device) {
  constexpr std::int64_t kFloats = std::int64_t{1} << 26;  // 256 MiB
  const Tensor a = Tensor::zeros({kFloats}, device);
  Tensor b = Tensor::zeros({kFloats}, device);
  float* out = b.data();
  const double seconds = median_seconds(device, [&] {
    dispatch(device, [&](auto& ctx) { scale(ctx, kFloats, 1.f, a.data(), out, Write::kOverwrite); });
  });
  return 2.0 * sizeof(float) * static_cast<double>(kFloats) / seconds / 1e9;
}

}  // namespace offramp::bench
