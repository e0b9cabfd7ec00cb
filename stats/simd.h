// Eight doubles at a time: exp2 and log2 for the loops of this room (KDE, changepoints).
// GCC/clang vector types, so the same text becomes AVX-512, AVX2 or plain code. Private to stats/*.cpp, which
// are compiled with -march and fused multiply-add; everything has internal linkage so that two architectures
// never meet in one symbol. vector_math.h has the array forms and the tested error.
// Why not libmvec: it is declared only under fast-math and falls to a scalar path when arguments underflow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
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
// The instructions by name: the compiler turns a > b ? a : b into a compare and a blend. The full zero mask
// says no more than _mm512_max_pd, whose undefined third operand gcc 12 warns of.
#if defined(__AVX512F__)
[[maybe_unused]] inline Vec max(Vec a, Vec b) { return _mm512_maskz_max_pd(0xff, a, b); }
[[maybe_unused]] inline Vec min(Vec a, Vec b) { return _mm512_maskz_min_pd(0xff, a, b); }
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

// U vectors side by side. A polynomial is one long chain of dependent instructions; four of them in step keep
// both multipliers busy where the processor's scheduler sees only one and a half loop bodies ahead. One at a
// time on AVX2, whose sixteen registers half of these vectors fill.
#if defined(__AVX512F__)
inline constexpr std::size_t kInStep = 4;
#else
inline constexpr std::size_t kInStep = 1;
#endif
template <std::size_t U>
struct Pack {
  Vec v[U];
};
template <std::size_t U, class F>
inline Pack<U> per_vector(F f) {
  return [&]<std::size_t... I>(std::index_sequence<I...>) { return Pack<U>{{f(I)...}}; }
  (std::make_index_sequence<U>());
}
template <std::size_t U>
inline Pack<U> load_pack(const double* p) {
  return per_vector<U>([&](std::size_t u) { return load(p + u * kLanes); });
}
template <std::size_t U>
inline Pack<U> operator+(const Pack<U>& a, const Pack<U>& b) {
  return per_vector<U>([&](std::size_t u) { return a.v[u] + b.v[u]; });
}
template <std::size_t U>
inline Pack<U> operator+(const Pack<U>& a, Vec b) {
  return per_vector<U>([&](std::size_t u) { return a.v[u] + b; });
}
template <std::size_t U>
inline Pack<U> operator-(const Pack<U>& a, const Pack<U>& b) {
  return per_vector<U>([&](std::size_t u) { return a.v[u] - b.v[u]; });
}
template <std::size_t U>
inline Pack<U> operator-(const Pack<U>& a, Vec b) {
  return per_vector<U>([&](std::size_t u) { return a.v[u] - b; });
}
template <std::size_t U>
inline Pack<U> operator*(const Pack<U>& a, const Pack<U>& b) {
  return per_vector<U>([&](std::size_t u) { return a.v[u] * b.v[u]; });
}
template <std::size_t U>
inline Pack<U> operator*(const Pack<U>& a, Vec b) {
  return per_vector<U>([&](std::size_t u) { return a.v[u] * b; });
}
template <std::size_t U>
inline Pack<U> max(const Pack<U>& a, const Pack<U>& b) {
  return per_vector<U>([&](std::size_t u) { return max(a.v[u], b.v[u]); });
}
template <std::size_t U>
inline Pack<U> max(const Pack<U>& a, Vec b) {
  return per_vector<U>([&](std::size_t u) { return max(a.v[u], b); });
}
// c0 + r (c1 + r (c2 + ...))
template <std::size_t U>
inline Pack<U> horner(const Pack<U>&, double c) {
  return per_vector<U>([&](std::size_t) { return splat(c); });
}
template <std::size_t U, class... C>
inline Pack<U> horner(const Pack<U>& r, double c, C... rest) {
  return horner(r, rest...) * r + splat(c);
}

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

// 2^x for -1021 <= x <= 1023; arguments outside are clamped there (2^-1021 is the "zero" of a log-sum-exp).
// x = k + j/8 + r, |r| <= 1/16; 2^r = 1 + r q(r), q the Chebyshev interpolant of degree 6 (relative error
// 5e-18); the eight 2^(j/8) are one register. exp2_below is the same without the upper clamp: garbage above
// 1023.
template <std::size_t U>
[[gnu::always_inline]] inline Pack<U> exp2_below(Pack<U> x) {
  const Vec magic = splat(0x1.8p49);  // adding it rounds to a multiple of 1/8, held in the low mantissa bits
  // The bits of 2^(j/8) less j << 49, which adding the shifted 8k + j brings back.
  const VecInt power = {0x3ff0000000000000,
                        0x3fef72b83c7d517b,
                        0x3fef06fe0a31b715,
                        0x3feebfdad5362a27,
                        0x3feea09e667f3bcd,
                        0x3feeace5422aa0db,
                        0x3feee89f995ad3ad,
                        0x3fef5818dcfba487};
  x = max(x, splat(-1021.0));
  const Pack<U> t = x + magic;
  const Pack<U> r = x - (t - magic);
  const Pack<U> p = horner(r,
                           0.6931471805599452862,
                           0.2402265069591093261,
                           0.05550410866482224231,
                           0.009618129089983301627,
                           0.001333355813283885593,
                           0.000154044338193475819,
                           1.525342958649691008e-05) *
                    r;
  const Pack<U> s = per_vector<U>([&](std::size_t u) {
    return from_bits(bits(lookup(from_bits(power), bits(t.v[u]))) + (bits(t.v[u]) << 49));
  });
  return s * p + s;
}
[[maybe_unused]] inline Vec exp2_below(Vec x) { return exp2_below(Pack<1>{{x}}).v[0]; }
[[maybe_unused]] inline Vec exp2(Vec x) { return exp2_below(min(x, splat(1023.0))); }

// log2 of positive normal numbers: x = 2^k m, m in [23/32, 23/16); eight centres c = 1/kInverse with 1 among
// them; log2 x = k + log2 c + r q(r), r = m/c - 1, |r| <= 1/16, q of degree 9 (absolute error 2e-17).
template <std::size_t U>
[[gnu::always_inline]] inline Pack<U> log2(const Pack<U>& x) {
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
  constexpr std::int64_t kExponent = ~((std::int64_t{1} << 52) - 1);
  Pack<U> k, r, centre;  // k in units of 2^-52
  for (std::size_t u = 0; u < U; ++u) {
    const VecInt from = bits(x.v[u]) - bits(splat(0.71875));
    const VecInt whole = from & kExponent, index = from >> 49;
    k.v[u] = __builtin_convertvector(whole, Vec);
    r.v[u] = from_bits(bits(x.v[u]) - whole) * lookup(inverse, index) - splat(1.0);
    centre.v[u] = lookup(log2_centre, index);
  }
  const Pack<U> q = horner(r,
                           1.442695040888963657,
                           -0.721347520444481933,
                           0.4808983469598261449,
                           -0.3606737602193423529,
                           0.2885390145699342174,
                           -0.2404491793415628061,
                           0.2060947702787959854,
                           -0.1803327352206696908,
                           0.161603498770107309,
                           -0.1454649677144799966);
  return k * splat(0x1p-52) + (q * r + centre);
}
[[maybe_unused]] inline Vec log2(Vec x) { return log2(Pack<1>{{x}}).v[0]; }

}  // namespace
}  // namespace offramp::stats
