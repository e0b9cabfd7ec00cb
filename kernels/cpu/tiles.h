#pragma once
// The tile unit of Intel's processors (AMX): eight registers of 16 rows of 64 bytes. A product adds a [16 x 32] times
// b [32 x 16], both bf16, to c [16 x 16] in float; b stands in pairs of rows: b[i][2 n + j] is row 2 i + j, column n.
// TileUnit has the instructions, TileArray the same in plain C++ for machines without them (tests; slow). Of a row the
// even and the odd products are summed apart; denormals count as zero. Both give the same bits.
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/cpu/simd.h"

#if defined(__x86_64__) && OFFRAMP_SIMD == 512
#define OFFRAMP_HAS_TILES 1
#else
#define OFFRAMP_HAS_TILES 0
#endif

namespace offramp::cpu {

inline constexpr int kTileSide = 16;     // rows of a tile, columns of a sum
inline constexpr int kTileDepth = 32;    // bf16 values that a product sums
inline constexpr int kTileValues = 512;  // bf16 values of a tile

class TileArray {
 public:
  template <int kTile>
  void zero() {
    tiles_[kTile] = {};
  }
  template <int kTile>
  void load(const void* from, std::ptrdiff_t stride) {
    for (int row = 0; row < kTileSide; ++row)
      std::memcpy(
          &tiles_[kTile][static_cast<std::size_t>(row)], static_cast<const char*>(from) + row * stride, 64);
  }
  template <int kTile>
  void store(float* to, std::ptrdiff_t stride) const {
    for (int row = 0; row < kTileSide; ++row)
      std::memcpy(
          reinterpret_cast<char*>(to) + row * stride, &tiles_[kTile][static_cast<std::size_t>(row)], 64);
  }
  template <int kSum, int kA, int kB>
  void multiply() {
    float b[2][kTileSide][kTileSide];  // even and odd rows
    for (std::size_t i = 0; i < kTileSide; ++i) {
      for (std::size_t n = 0; n < kTileSide; ++n) {
        for (std::size_t j = 0; j < 2; ++j) b[j][i][n] = half(tiles_[kB][i][n], j);
      }
    }
    for (std::size_t m = 0; m < kTileSide; ++m) {
      float sums[2][kTileSide] = {};
      for (std::size_t i = 0; i < kTileSide; ++i) {
        for (std::size_t j = 0; j < 2; ++j) {
          const float a = half(tiles_[kA][m][i], j);
          for (std::size_t n = 0; n < kTileSide; ++n)
            sums[j][n] = flushed(std::fma(a, b[j][i][n], sums[j][n]));
        }
      }
      for (std::size_t n = 0; n < kTileSide; ++n) {
        const float sum = std::bit_cast<float>(tiles_[kSum][m][n]) + flushed(sums[0][n] + sums[1][n]);
        tiles_[kSum][m][n] = std::bit_cast<std::uint32_t>(flushed(sum));
      }
    }
  }

 private:
  static float flushed(float value) {
    return std::fabs(value) < std::numeric_limits<float>::min() ? std::copysign(0.f, value) : value;
  }
  static float half(std::uint32_t pair, std::size_t which) {
    return flushed(std::bit_cast<float>(which == 0 ? pair << 16 : pair & 0xffff0000u));
  }
  std::array<std::array<std::array<std::uint32_t, 16>, kTileSide>, 8> tiles_{};
};

#if OFFRAMP_HAS_TILES

// One thread's tiles, set up while the object lives.
class TileUnit {
 public:
  // The processor has it and the system lets this process use it (asked once).
  static bool usable();

  OFFRAMP_SIMD_FN TileUnit() {
    struct alignas(64) {
      std::uint8_t palette = 1, start = 0, reserved[14] = {};
      std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } config;
    asm volatile("ldtilecfg %0" : : "m"(config));
  }
  OFFRAMP_SIMD_FN ~TileUnit() { asm volatile("tilerelease"); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;

  template <int kTile>
  OFFRAMP_SIMD_FN void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <int kTile>
  OFFRAMP_SIMD_FN void load(const void* from, std::ptrdiff_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  OFFRAMP_SIMD_FN void store(float* to, std::ptrdiff_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kSum, int kA, int kB>
  OFFRAMP_SIMD_FN void multiply() {
    asm volatile("tdpbf16ps %%tmm%c0, %%tmm%c1, %%tmm%c2" : : "i"(kB), "i"(kA), "i"(kSum));
  }
};

#endif

}  // namespace offramp::cpu
