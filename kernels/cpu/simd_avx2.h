#pragma once
// The 16-lane vector in two AVX2 registers. Included by simd.h only. What each function does is said in
// simd_avx512.h.
#include <immintrin.h>

#define OFFRAMP_SIMD_NAMESPACE simd256

namespace offramp::cpu {
inline namespace OFFRAMP_SIMD_NAMESPACE {

struct f32x16 {
  __m256 lo, hi;
};
struct mask16 {
  __m256 lo, hi;  // all bits of a lane or none
};

OFFRAMP_SIMD_FN f32x16 splat(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }

OFFRAMP_SIMD_FN __m256i lanes_below(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
OFFRAMP_SIMD_FN mask16 first_lanes(int count) {
  return {_mm256_castsi256_ps(lanes_below(count)), _mm256_castsi256_ps(lanes_below(count - 8))};
}

OFFRAMP_SIMD_FN __m256 widen8(__m128i halves) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
OFFRAMP_SIMD_FN __m256i rounded8(__m256 a) {
  const __m256i u = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
  return _mm256_srli_epi32(_mm256_blendv_epi8(up, quiet, nan), 16);
}
OFFRAMP_SIMD_FN __m256i narrow(f32x16 a) {
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(rounded8(a.lo), rounded8(a.hi)), 0xd8);
}

OFFRAMP_SIMD_FN f32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
OFFRAMP_SIMD_FN f32x16 load(const bf16* p) {
  const auto* q = reinterpret_cast<const __m128i*>(p);
  return {widen8(_mm_loadu_si128(q)), widen8(_mm_loadu_si128(q + 1))};
}
OFFRAMP_SIMD_FN f32x16 load_n(const float* p, int count) {
  return {_mm256_maskload_ps(p, lanes_below(count)), _mm256_maskload_ps(p + 8, lanes_below(count - 8))};
}
OFFRAMP_SIMD_FN f32x16 load_n(const bf16* p, int count) {
  bf16 full[kLanes] = {};
  std::memcpy(full, p, static_cast<std::size_t>(count) * sizeof(bf16));
  return load(full);
}
OFFRAMP_SIMD_FN void store(float* p, f32x16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
OFFRAMP_SIMD_FN void store(bf16* p, f32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(a));
}
OFFRAMP_SIMD_FN void store_n(float* p, f32x16 a, int count) {
  _mm256_maskstore_ps(p, lanes_below(count), a.lo);
  _mm256_maskstore_ps(p + 8, lanes_below(count - 8), a.hi);
}
OFFRAMP_SIMD_FN void store_n(bf16* p, f32x16 a, int count) {
  bf16 full[kLanes];
  store(full, a);
  std::memcpy(p, full, static_cast<std::size_t>(count) * sizeof(bf16));
}

// Bytes 0 .. 255 as floats and back (integral values only).
OFFRAMP_SIMD_FN f32x16 load_bytes_n(const std::uint8_t* p, int count) {
  float lane[kLanes] = {};
  for (int i = 0; i < count; ++i) lane[i] = static_cast<float>(p[i]);
  return load(lane);
}
OFFRAMP_SIMD_FN void store_bytes_n(std::uint8_t* p, f32x16 a, int count) {
  float lane[kLanes];
  store(lane, a);
  for (int i = 0; i < count; ++i) p[i] = static_cast<std::uint8_t>(lane[i]);
}

OFFRAMP_SIMD_FN f32x16 operator+(f32x16 a, f32x16 b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
OFFRAMP_SIMD_FN f32x16 operator-(f32x16 a, f32x16 b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
OFFRAMP_SIMD_FN f32x16 operator*(f32x16 a, f32x16 b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
OFFRAMP_SIMD_FN f32x16 operator/(f32x16 a, f32x16 b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
OFFRAMP_SIMD_FN f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
OFFRAMP_SIMD_FN f32x16 max(f32x16 a, f32x16 b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
OFFRAMP_SIMD_FN f32x16 min(f32x16 a, f32x16 b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
OFFRAMP_SIMD_FN f32x16 sqrt(f32x16 a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
OFFRAMP_SIMD_FN f32x16 abs(f32x16 a) {
  const __m256 sign = _mm256_set1_ps(-0.f);
  return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
OFFRAMP_SIMD_FN f32x16 flip_sign(f32x16 a) {
  const __m256 sign = _mm256_set1_ps(-0.f);
  return {_mm256_xor_ps(sign, a.lo), _mm256_xor_ps(sign, a.hi)};
}
OFFRAMP_SIMD_FN f32x16 round_even(f32x16 a) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.lo, kMode), _mm256_round_ps(a.hi, kMode)};
}
// In two exact halves of the exponent, so that 2^n itself may leave the float range (|n| <= 252).
OFFRAMP_SIMD_FN __m256 scale8(__m256 a, __m256 n) {
  const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
  const auto power = [](__m256i e) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
  };
  const __m256 nan = _mm256_cmp_ps(n, n, _CMP_UNORD_Q);
  const __m256 scaled = _mm256_mul_ps(_mm256_mul_ps(a, power(half)), power(_mm256_sub_epi32(whole, half)));
  return _mm256_blendv_ps(scaled, n, nan);
}
OFFRAMP_SIMD_FN f32x16 scale_pow2(f32x16 a, f32x16 n) { return {scale8(a.lo, n.lo), scale8(a.hi, n.hi)}; }

OFFRAMP_SIMD_FN mask16 greater(f32x16 a, f32x16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ)};
}
OFFRAMP_SIMD_FN mask16 equal(f32x16 a, f32x16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)};
}
OFFRAMP_SIMD_FN mask16 differs(f32x16 a, f32x16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_NEQ_UQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_NEQ_UQ)};
}
OFFRAMP_SIMD_FN mask16 operator|(mask16 a, mask16 b) {
  return {_mm256_or_ps(a.lo, b.lo), _mm256_or_ps(a.hi, b.hi)};
}
OFFRAMP_SIMD_FN mask16 operator&(mask16 a, mask16 b) {
  return {_mm256_and_ps(a.lo, b.lo), _mm256_and_ps(a.hi, b.hi)};
}
OFFRAMP_SIMD_FN std::uint32_t bits(mask16 m) {
  return static_cast<std::uint32_t>(_mm256_movemask_ps(m.lo)) |
         static_cast<std::uint32_t>(_mm256_movemask_ps(m.hi)) << 8;
}
OFFRAMP_SIMD_FN mask16 mask_from_bits(std::uint32_t b) {
  const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const auto test = [&](std::uint32_t part) {
    const __m256i hit = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(part & 0xffu)), lane);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(hit, lane));
  };
  return {test(b), test(b >> 8)};
}
OFFRAMP_SIMD_FN f32x16 select(mask16 m, f32x16 yes, f32x16 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi)};
}
OFFRAMP_SIMD_FN f32x16 keep(mask16 m, f32x16 a) {
  return {_mm256_and_ps(m.lo, a.lo), _mm256_and_ps(m.hi, a.hi)};
}

OFFRAMP_SIMD_FN float sum(f32x16 a) {
  const __m256 h = _mm256_add_ps(a.lo, a.hi);
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}
OFFRAMP_SIMD_FN float max_lane(f32x16 a) {
  const __m256 h = _mm256_max_ps(a.lo, a.hi);
  const __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps(d, d, 1)));
}

}  // namespace OFFRAMP_SIMD_NAMESPACE
}  // namespace offramp::cpu
