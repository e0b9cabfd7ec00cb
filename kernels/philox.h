#pragma once
// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3; SC 2011): a
// counter-based generator, so that element i of step s of op o gets the same number on every device and with
// any thread count. Key = seed; counter = (element, step, op, stream).
#include <cstdint>

#include "kernels/portable.h"

namespace offramp {

struct PhiloxBlock {
  std::uint32_t v[4];
};

OFFRAMP_HD inline PhiloxBlock philox4x32_10(PhiloxBlock counter, std::uint32_t key0, std::uint32_t key1) {
  constexpr std::uint32_t kMul0 = 0xD2511F53u, kMul1 = 0xCD9E8D57u;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = static_cast<std::uint64_t>(kMul0) * counter.v[0];
    const std::uint64_t p1 = static_cast<std::uint64_t>(kMul1) * counter.v[2];
    counter = {{static_cast<std::uint32_t>(p1 >> 32) ^ counter.v[1] ^ key0,
                static_cast<std::uint32_t>(p1),
                static_cast<std::uint32_t>(p0 >> 32) ^ counter.v[3] ^ key1,
                static_cast<std::uint32_t>(p0)}};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return counter;
}

// Where a random number stands: who draws (stream, op), when (step); the element is given at the draw.
struct PhiloxKey {
  std::uint64_t seed = 0;
  std::uint32_t stream =
      0;  // one for initialisation, one for shuffling, one for augmentation, one for dropout ...
  std::uint32_t op = 0;    // which layer or image transformation
  std::uint32_t step = 0;  // training step or epoch

  // Four words for elements 4 * block .. 4 * block + 3. The upper half of a block index goes into the op
  // word.
  OFFRAMP_HD PhiloxBlock block(std::uint64_t index) const {
    const auto low = static_cast<std::uint32_t>(index), high = static_cast<std::uint32_t>(index >> 32);
    return philox4x32_10({{low, step, op ^ (high * 0x9E3779B9u), stream}},
                         static_cast<std::uint32_t>(seed),
                         static_cast<std::uint32_t>(seed >> 32));
  }
  OFFRAMP_HD std::uint32_t word(std::uint64_t element) const { return block(element >> 2).v[element & 3]; }
  // Uniform in [0, 1): 24 bits, exact in float, the same on every device.
  OFFRAMP_HD float uniform(std::uint64_t element) const {
    return static_cast<float>(word(element) >> 8) * 0x1p-24f;
  }
};

}  // namespace offramp
