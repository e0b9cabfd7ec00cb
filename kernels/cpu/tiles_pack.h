#pragma once
// bf16 activations as the tile unit of tiles.h wants them, 16 channels at a time.
#include "kernels/cpu/tiles.h"

namespace offramp::cpu::tiles {
inline namespace OFFRAMP_SIMD_NAMESPACE {

// A tile of 16 channels x 32 pixels: to[channel][pixel] from from[pixel * step + channel].
OFFRAMP_SIMD_FN void transpose(const bf16* from, std::int64_t step, bf16* to);
// Two pixels as a row of pairs: to[2 n] = even[n], to[2 n + 1] = odd[n], n < 16.
OFFRAMP_SIMD_FN void interleave(const bf16* even, const bf16* odd, bf16* to);
// 32 values; 16 values.
OFFRAMP_SIMD_FN void copy_line(const bf16* from, bf16* to);
OFFRAMP_SIMD_FN void copy_half(const bf16* from, bf16* to);
// 16 rows of 16 pairs: pair [i][j] of `from` goes to [j][i] of `to`.
OFFRAMP_SIMD_FN void transpose_pairs(const bf16* from, bf16* to);

#if OFFRAMP_HAS_TILES

OFFRAMP_SIMD_FN void transpose(const bf16* from, std::int64_t step, bf16* to) {
  const auto pixel = [&](std::int64_t p) __attribute__((always_inline)) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + p * step));
  };
  for (int half = 0; half < 2; ++half, from += 8, to += 8 * kTileDepth) {
    // A lane of a register holds 8 channels of one pixel: pixels p, p + 8, p + 16, p + 24.
    __m512i r[8], t[8];
    for (int p = 0; p < 8; ++p) {
      __m512i v = _mm512_castsi128_si512(pixel(p));
      v = _mm512_mask_broadcast_i32x4(v, 0x00f0, pixel(p + 8));
      v = _mm512_mask_broadcast_i32x4(v, 0x0f00, pixel(p + 16));
      r[p] = _mm512_mask_broadcast_i32x4(v, 0xf000, pixel(p + 24));
    }
    for (int i = 0; i < 4; ++i) {
      t[2 * i] = _mm512_unpacklo_epi16(r[2 * i], r[2 * i + 1]);
      t[2 * i + 1] = _mm512_unpackhi_epi16(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 2; ++j) {  // channels 4 j .. 4 j + 3, pixels 4 i .. 4 i + 3
        r[i * 4 + j * 2] = _mm512_unpacklo_epi32(t[i * 4 + j], t[i * 4 + 2 + j]);
        r[i * 4 + j * 2 + 1] = _mm512_unpackhi_epi32(t[i * 4 + j], t[i * 4 + 2 + j]);
      }
    }
    for (int j = 0; j < 4; ++j) {
      _mm512_storeu_si512(to + 2 * j * kTileDepth, _mm512_unpacklo_epi64(r[j], r[4 + j]));
      _mm512_storeu_si512(to + (2 * j + 1) * kTileDepth, _mm512_unpackhi_epi64(r[j], r[4 + j]));
    }
  }
}

OFFRAMP_SIMD_FN void interleave(const bf16* even, const bf16* odd, bf16* to) {
  const __m512i order = _mm512_set_epi16(31,
                                         15,
                                         30,
                                         14,
                                         29,
                                         13,
                                         28,
                                         12,
                                         27,
                                         11,
                                         26,
                                         10,
                                         25,
                                         9,
                                         24,
                                         8,  //
                                         23,
                                         7,
                                         22,
                                         6,
                                         21,
                                         5,
                                         20,
                                         4,
                                         19,
                                         3,
                                         18,
                                         2,
                                         17,
                                         1,
                                         16,
                                         0);
  __m512i v = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(even)));
  v = _mm512_inserti64x4(v, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd)), 1);
  _mm512_storeu_si512(to, _mm512_permutexvar_epi16(order, v));
}

OFFRAMP_SIMD_FN void copy_line(const bf16* from, bf16* to) {
  _mm512_storeu_si512(to, _mm512_loadu_si512(from));
}
OFFRAMP_SIMD_FN void copy_half(const bf16* from, bf16* to) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

OFFRAMP_SIMD_FN void transpose_pairs(const bf16* from, bf16* to) {
  __m512i r[16], t[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(from + i * kTileDepth);
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  // r[4 g + j]: rows 4 g .. 4 g + 3, in each lane column 4 lane + j.
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int j = 0; j < 4; ++j) {
    const __m512i low01 = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x44),
                  high01 = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xee);
    const __m512i low23 = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x44),
                  high23 = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xee);
    _mm512_storeu_si512(to + j * kTileDepth, _mm512_shuffle_i32x4(low01, low23, 0x88));
    _mm512_storeu_si512(to + (4 + j) * kTileDepth, _mm512_shuffle_i32x4(low01, low23, 0xdd));
    _mm512_storeu_si512(to + (8 + j) * kTileDepth, _mm512_shuffle_i32x4(high01, high23, 0x88));
    _mm512_storeu_si512(to + (12 + j) * kTileDepth, _mm512_shuffle_i32x4(high01, high23, 0xdd));
  }
}

#else

OFFRAMP_SIMD_FN void transpose(const bf16* from, std::int64_t step, bf16* to) {
  for (int channel = 0; channel < kTileSide; ++channel) {
    for (int p = 0; p < kTileDepth; ++p) to[channel * kTileDepth + p] = from[p * step + channel];
  }
}

OFFRAMP_SIMD_FN void interleave(const bf16* even, const bf16* odd, bf16* to) {
  for (int n = 0; n < kTileSide; ++n) {
    to[2 * n] = even[n];
    to[2 * n + 1] = odd[n];
  }
}

OFFRAMP_SIMD_FN void copy_line(const bf16* from, bf16* to) { std::memcpy(to, from, 2 * kTileDepth); }
OFFRAMP_SIMD_FN void copy_half(const bf16* from, bf16* to) { std::memcpy(to, from, 2 * kTileSide); }

OFFRAMP_SIMD_FN void transpose_pairs(const bf16* from, bf16* to) {
  for (int i = 0; i < kTileSide; ++i) {
    for (int j = 0; j < kTileSide; ++j)
      std::memcpy(to + j * kTileDepth + 2 * i, from + i * kTileDepth + 2 * j, 4);
  }
}

#endif

}  // namespace OFFRAMP_SIMD_NAMESPACE
}  // namespace offramp::cpu::tiles
