#pragma once
// Test data from Philox with a fixed seed: the same on every machine.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/philox.h"

namespace offramp::test {

// The seed of every test; a test that needs several independent vectors numbers them by `stream`.
inline constexpr std::uint64_t kSeed = 20240229;

inline PhiloxKey test_key(std::uint32_t stream) { return {.seed = kSeed, .stream = stream}; }

// n values in [low, high), rounded to T, so that a double reference of them starts from the same numbers.
template <class T = float>
std::vector<T> random_vector(std::size_t n, std::uint32_t stream, float low = -1.f, float high = 1.f) {
  std::vector<T> values(n);
  const PhiloxKey key = test_key(stream);
  for (std::size_t i = 0; i < n; ++i) values[i] = T(low + (high - low) * key.uniform(i));
  return values;
}

inline std::vector<std::int32_t> random_ints(std::size_t n, std::uint32_t stream, int low, int high) {
  std::vector<std::int32_t> values(n);  // low .. high, both included
  const PhiloxKey key = test_key(stream);
  const auto span = static_cast<std::uint32_t>(high - low + 1);
  for (std::size_t i = 0; i < n; ++i) values[i] = low + static_cast<std::int32_t>(key.word(i) % span);
  return values;
}

// Moves values nearer than `margin` to a kink (a corner of relu, clamp, hinge) to `kink` plus or minus
// margin.
template <class T>
void keep_off(std::vector<T>& values, float kink, float margin) {
  for (T& value : values) {
    const float d = static_cast<float>(value) - kink;
    if (std::fabs(d) < margin) value = T(kink + (d < 0 ? -margin : margin));
  }
}

template <class T>
std::vector<double> to_double(const std::vector<T>& values) {
  std::vector<double> out(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if constexpr (sizeof(T) == sizeof(bf16)) {
      out[i] = static_cast<double>(static_cast<float>(values[i]));
    } else {
      out[i] = static_cast<double>(values[i]);
    }
  }
  return out;
}

}  // namespace offramp::test
