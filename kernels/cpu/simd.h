#pragma once
// Vectors of 16 floats for the loops of kernels/cpu: one AVX-512 register, two AVX2 registers, or an array.
// All three give the same bits: every operation is one IEEE operation per lane, and horizontal sums add in
// the same tree. Loads and stores convert float and bf16 (round to nearest even, NaN stays NaN), are
// unaligned, and have a form for tails.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/bf16.h"

// 512, 256 or 0 may be given by a test; otherwise what the compiler targets.
#ifndef OFFRAMP_SIMD
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define OFFRAMP_SIMD 512
#elif defined(__AVX2__) && defined(__FMA__)
#define OFFRAMP_SIMD 256
#else
#define OFFRAMP_SIMD 0
#endif
#endif

// Inlined always: a copy of such a function must not leak into a file compiled for another machine.
#define OFFRAMP_SIMD_FN [[gnu::always_inline]] inline

namespace offramp::cpu {
inline constexpr int kLanes = 16;
}

#if OFFRAMP_SIMD == 512
#include "kernels/cpu/simd_avx512.h"
#elif OFFRAMP_SIMD == 256
#include "kernels/cpu/simd_avx2.h"
#else
#include "kernels/cpu/simd_array.h"
#endif

namespace offramp::cpu {
inline namespace OFFRAMP_SIMD_NAMESPACE {

OFFRAMP_SIMD_FN f32x16 zero() { return splat(0.f); }
OFFRAMP_SIMD_FN f32x16& operator+=(f32x16& a, f32x16 b) { return a = a + b; }
OFFRAMP_SIMD_FN f32x16& operator*=(f32x16& a, f32x16 b) { return a = a * b; }
OFFRAMP_SIMD_FN f32x16 operator-(f32x16 a) { return flip_sign(a); }

// `count` in 0 .. 16 lanes; a full vector where there are more left.
OFFRAMP_SIMD_FN int lanes_left(std::int64_t left) { return left >= kLanes ? kLanes : static_cast<int>(left); }

inline constexpr double kExpUlp = 1.2;
// exp(x) within kExpUlp ulp in the normal range; correctly 0, denormal, infinite or NaN outside (denormals
// within 1 step). Cody-Waite reduction x = n ln 2 + r, |r| <= ln 2 / 2, Taylor-like minimax of degree 6,
// scaled by 2^n in two steps.
OFFRAMP_SIMD_FN f32x16 exp(f32x16 x) {
  x = min(splat(89.f), max(splat(-104.f), x));  // both return the second operand where it is NaN
  const f32x16 n = round_even(x * splat(1.44269504f));
  f32x16 r = fma(n, splat(-0.693145752f), x);  // ln 2 with the low bits cut: n * this is exact
  r = fma(n, splat(-1.42860677e-6f), r);
  f32x16 p = splat(1.98756912e-4f);
  p = fma(p, r, splat(1.39819994e-3f));
  p = fma(p, r, splat(8.33345205e-3f));
  p = fma(p, r, splat(4.16657962e-2f));
  p = fma(p, r, splat(1.66666657e-1f));
  p = fma(p, r, splat(0.5f));
  p = fma(p, r * r, r) + splat(1.f);
  return scale_pow2(p, n);
}

}  // namespace OFFRAMP_SIMD_NAMESPACE
}  // namespace offramp::cpu
