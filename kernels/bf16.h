#pragma once
// bfloat16 storage: the upper 16 bits of a float. Conversion rounds to nearest even and keeps NaN a NaN.
#include <bit>
#include <cstdint>

#include "kernels/portable.h"

namespace offramp {

struct bf16 {
  std::uint16_t bits = 0;

  bf16() = default;
  OFFRAMP_HD explicit bf16(float value) {
    const auto u = std::bit_cast<std::uint32_t>(value);
    const bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
    const std::uint32_t rounded = u + 0x7fffu + ((u >> 16) & 1u);
    bits = static_cast<std::uint16_t>(is_nan ? ((u >> 16) | 0x40u) : (rounded >> 16));
  }
  OFFRAMP_HD explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
  friend bool operator==(bf16, bf16) = default;  // of the bits
};
static_assert(sizeof(bf16) == 2);

}  // namespace offramp
