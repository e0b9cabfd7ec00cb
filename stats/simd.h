// Eight doubles at a time: exp2 and log2 for the loops of this room (KDE, changepoints).
// GCC/clang vector types, so the same text becomes AVX-512, AVX2 or plain code. Private to stats/*.cpp, which
// are compiled with -march and fused multiply-add; everything has internal linkage so that two architectures
// never meet in one symbol. vector_math.h has the array forms and the tested error.
// Why not libmvec: it is declared only under fast-math and falls to a scalar path when arguments underflow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace offramp::stats {
namespace {

inline constexpr std::size_t kLanes = 8;
typedef double Vec __attribute__((vector_size(64)));
typedef std::int64_t VecInt __attribute__((vector_size(64)));

[[maybe_unused]] inline Vec splat(double x) { return Vec{x, x, x, x, x, x, x, x}; }
[[maybe_unused]] inline Vec load(const double* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
[[maybe_unused]] inline void store(double* p, Vec v) { std::memcpy(p, &v, sizeof v); }
// The instructions by name: the compiler turns a > b ? a : b into a compare and a blend.
#if defined(__AVX512F__)
[[maybe_unused]] inline Vec max(Vec a, Vec b) { return _mm512_max_pd(a, b); }
[[maybe_unused]] inline Vec min(Vec a, Vec b) { return _mm512_min_pd(a, b); }
#else
[[maybe_unused]] inline Vec max(Vec a, Vec b) { return a > b ? a : b; }
[[maybe_unused]] inline Vec min(Vec a, Vec b) { return a < b ? a : b; }
#endif
[[maybe_unused]] inline VecInt bits(Vec v) {
  VecInt i;
  std::memcpy(&i, &v, sizeof i);
  return i;
}
[[maybe_unused]] inline Vec from_bits(VecInt i) {
  Vec v;
  std::memcpy(&v, &i, sizeof v);
  return v;
}
// Fixed order, so sums are the same on every architecture.
[[maybe_unused]] inline double sum_lanes(Vec v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}
[[maybe_unused]] inline double max_lanes(Vec v) {
  double m = v[0];
  for (std::size_t i = 1; i < kLanes; ++i) {
    m = v[i] > m ? v[i] : m;
  }
  return m;
}

// 2^x for -1021 <= x <= 1023; arguments outside are clamped there (2^-1021 is the "zero" of a log-sum-exp).
// x = k + r, |r| <= 1/2; 2^r = 1 + r q(r), q the Chebyshev interpolant of degree 10 (relative error 6e-18).
// exp2_below is the same without the upper clamp: garbage above 1023.
[[maybe_unused]] inline Vec exp2_below(Vec x) {
  const Vec magic = splat(0x1.8p52);  // adding it rounds to an integer held in the low mantissa bits
  x = max(x, splat(-1021.0));
  const Vec t = x + magic;
  const Vec r = x - (t - magic);
  Vec q = splat(4.454960598186518394e-10);
  q = q * r + splat(7.0725859492692237e-9);
  q = q * r + splat(1.017806244584577352e-7);
  q = q * r + splat(1.321544258792168965e-6);
  q = q * r + splat(1.525273382983611839e-5);
  q = q * r + splat(1.540353044173605015e-4);
  q = q * r + splat(1.333355814641693531e-3);
  q = q * r + splat(9.618129107606888527e-3);
  q = q * r + splat(5.550410866482159434e-2);
  q = q * r + splat(2.402265069591009822e-1);
  q = q * r + splat(6.931471805599453094e-1);
  return from_bits(bits(q * r + splat(1.0)) + (bits(t) << 52));
}
[[maybe_unused]] inline Vec exp2(Vec x) { return exp2_below(min(x, splat(1023.0))); }

// log2 of positive normal numbers: x = 2^k m, m in [23/32, 23/16); eight centres c = 1/kInverse with 1 among
// them; log2 x = k + log2 c + r q(r), r = m/c - 1, |r| <= 1/16, q of degree 9 (absolute error 2e-17).
[[maybe_unused]] inline Vec lookup(Vec table, VecInt index) {
#if defined(__GNUC__) && !defined(__clang__)
  return __builtin_shuffle(table, index);
#else
  Vec v;
  for (std::size_t i = 0; i < kLanes; ++i) {
    v[i] = table[index[i] & 7];
  }
  return v;
#endif
}
[[maybe_unused]] inline Vec log2(Vec x) {
  const Vec inverse = {1.3333333333333333,
                       1.2307692307692308,
                       1.1428571428571428,
                       1.0666666666666667,
                       1.0,
                       0.8888888888888888,
                       0.8,
                       0.7272727272727273};
  const Vec log2_centre = {-0.4150374992788437385,
                           -0.2995602818589079197,
                           -0.1926450779423958125,
                           -0.09310940439148145065,
                           0.0,
                           0.169925001442312443,
                           0.3219280948873622678,
                           0.4594316186372972162};
  const VecInt from = bits(x) - bits(splat(0.71875));
  const VecInt k = from >> 52;
  const VecInt index = (from >> 49) & 7;
  const Vec r = from_bits(bits(x) - (k << 52)) * lookup(inverse, index) - splat(1.0);
  Vec q = splat(-0.1454649677144799966);
  q = q * r + splat(0.161603498770107309);
  q = q * r + splat(-0.1803327352206696908);
  q = q * r + splat(0.2060947702787959854);
  q = q * r + splat(-0.2404491793415628061);
  q = q * r + splat(0.2885390145699342174);
  q = q * r + splat(-0.3606737602193423529);
  q = q * r + splat(0.4808983469598261449);
  q = q * r + splat(-0.721347520444481933);
  q = q * r + splat(1.442695040888963657);
  return (q * r + lookup(log2_centre, index)) + __builtin_convertvector(k, Vec);
}

}  // namespace
}  // namespace offramp::stats
