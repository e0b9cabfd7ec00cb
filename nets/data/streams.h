#pragma once
// Philox streams of nets/data (the `stream` word of PhiloxKey): one per purpose, so that a user's single seed
// never makes shuffling and augmentation draw the same numbers.
#include <cstdint>

#include "kernels/philox.h"

namespace offramp::data {

inline constexpr std::uint32_t kShuffleStream = 0xDA7A0001u;     // step = epoch
inline constexpr std::uint32_t kAugmentStream = 0xDA7A0002u;     // step = epoch
inline constexpr std::uint32_t kHeldOutStream = 0xDA7A0003u;     // step = 0
inline constexpr std::uint32_t kLeavesStream = 0xDA7A0004u;      // step = index of the image
inline constexpr std::uint32_t kCorruptionStream = 0xDA7A0005u;  // step = index of the image
inline constexpr std::uint32_t kFourPartsStream = 0xDA7A0006u;   // step = 0; op = 0

// An integer in 0 .. bound-1 from one random word: floor(word * bound / 2^32). Its bias is below bound /
// 2^32.
OFFRAMP_HD inline std::uint32_t below(std::uint32_t word, std::uint32_t bound) {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(word) * bound) >> 32);
}
// Uniform in [0, 1), 24 bits: PhiloxKey::uniform of a word already drawn.
OFFRAMP_HD inline float unit(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

}  // namespace offramp::data
