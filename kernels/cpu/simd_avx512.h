#pragma once
// The 16-lane vector in one AVX-512 register. Included by simd.h only.
#include <immintrin.h>

#define OFFRAMP_SIMD_NAMESPACE simd512

namespace offramp::cpu {
inline namespace OFFRAMP_SIMD_NAMESPACE {

struct f32x16 {
  __m512 v;
};
struct mask16 {
  __mmask16 v;
};

OFFRAMP_SIMD_FN f32x16 splat(float value) { return {_mm512_set1_ps(value)}; }
OFFRAMP_SIMD_FN mask16 first_lanes(int count) { return {static_cast<__mmask16>((1u << count) - 1u)}; }

OFFRAMP_SIMD_FN f32x16 widen(__m256i halves) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
}
// The arithmetic of bf16(float). The hardware's own conversion flushes denormals, so it is taken where there
// are none.
OFFRAMP_SIMD_FN __m256i narrow(f32x16 a) {
#if defined(__AVX512BF16__)
  constexpr int kDenormal = 0x20;
  if (_mm512_fpclass_ps_mask(a.v, kDenormal) == 0) [[likely]] {
    return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a.v));
  }
#endif
  const __m512i u = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(up, nan, quiet), 16));
}

OFFRAMP_SIMD_FN f32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
OFFRAMP_SIMD_FN f32x16 load(const bf16* p) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
// The first `count` lanes from memory, the others 0.
OFFRAMP_SIMD_FN f32x16 load_n(const float* p, int count) {
  return {_mm512_maskz_loadu_ps(first_lanes(count).v, p)};
}
OFFRAMP_SIMD_FN f32x16 load_n(const bf16* p, int count) {
  return widen(_mm256_maskz_loadu_epi16(first_lanes(count).v, p));
}
OFFRAMP_SIMD_FN void store(float* p, f32x16 a) { _mm512_storeu_ps(p, a.v); }
OFFRAMP_SIMD_FN void store(bf16* p, f32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(a));
}
OFFRAMP_SIMD_FN void store_n(float* p, f32x16 a, int count) {
  _mm512_mask_storeu_ps(p, first_lanes(count).v, a.v);
}
OFFRAMP_SIMD_FN void store_n(bf16* p, f32x16 a, int count) {
  _mm256_mask_storeu_epi16(p, first_lanes(count).v, narrow(a));
}

// Bytes 0 .. 255 as floats and back (integral values only).
OFFRAMP_SIMD_FN f32x16 load_bytes_n(const std::uint8_t* p, int count) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first_lanes(count).v, p)))};
}
OFFRAMP_SIMD_FN void store_bytes_n(std::uint8_t* p, f32x16 a, int count) {
  _mm_mask_storeu_epi8(p, first_lanes(count).v, _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(a.v)));
}

OFFRAMP_SIMD_FN f32x16 operator+(f32x16 a, f32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
OFFRAMP_SIMD_FN f32x16 operator-(f32x16 a, f32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
OFFRAMP_SIMD_FN f32x16 operator*(f32x16 a, f32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
OFFRAMP_SIMD_FN f32x16 operator/(f32x16 a, f32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
OFFRAMP_SIMD_FN f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// a > b ? a : b, hence b where one is NaN; min likewise.
OFFRAMP_SIMD_FN f32x16 max(f32x16 a, f32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
OFFRAMP_SIMD_FN f32x16 min(f32x16 a, f32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
OFFRAMP_SIMD_FN f32x16 sqrt(f32x16 a) { return {_mm512_sqrt_ps(a.v)}; }
OFFRAMP_SIMD_FN f32x16 abs(f32x16 a) { return {_mm512_abs_ps(a.v)}; }
OFFRAMP_SIMD_FN f32x16 flip_sign(f32x16 a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.f))}; }
OFFRAMP_SIMD_FN f32x16 round_even(f32x16 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// a * 2^n for integral n, rounded at most once where the result is denormal.
OFFRAMP_SIMD_FN f32x16 scale_pow2(f32x16 a, f32x16 n) { return {_mm512_scalef_ps(a.v, n.v)}; }

// Comparisons are false where an operand is NaN, except differs.
OFFRAMP_SIMD_FN mask16 greater(f32x16 a, f32x16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
OFFRAMP_SIMD_FN mask16 equal(f32x16 a, f32x16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
OFFRAMP_SIMD_FN mask16 differs(f32x16 a, f32x16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NEQ_UQ)}; }
OFFRAMP_SIMD_FN mask16 operator|(mask16 a, mask16 b) { return {static_cast<__mmask16>(a.v | b.v)}; }
OFFRAMP_SIMD_FN mask16 operator&(mask16 a, mask16 b) { return {static_cast<__mmask16>(a.v & b.v)}; }
OFFRAMP_SIMD_FN std::uint32_t bits(mask16 m) { return m.v; }  // lane i is bit i
OFFRAMP_SIMD_FN mask16 mask_from_bits(std::uint32_t b) { return {static_cast<__mmask16>(b)}; }
OFFRAMP_SIMD_FN f32x16 select(mask16 m, f32x16 yes, f32x16 no) {
  return {_mm512_mask_mov_ps(no.v, m.v, yes.v)};
}
OFFRAMP_SIMD_FN f32x16 keep(mask16 m, f32x16 a) { return {_mm512_maskz_mov_ps(m.v, a.v)}; }  // else 0

// ((l0 + l8) + (l4 + l12)) + ... : halves folded onto each other.
OFFRAMP_SIMD_FN float sum(f32x16 a) {
  const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
}
// Without NaN.
OFFRAMP_SIMD_FN float max_lane(f32x16 a) { return _mm512_reduce_max_ps(a.v); }

}  // namespace OFFRAMP_SIMD_NAMESPACE
}  // namespace offramp::cpu
