#pragma once
// The 16-lane vector as an array, for machines without AVX2: plain loops that say what the other two do.
// Included by simd.h only.

#define OFFRAMP_SIMD_NAMESPACE simd_array

namespace offramp::cpu {
inline namespace OFFRAMP_SIMD_NAMESPACE {

struct f32x16 {
  float v[kLanes];
};
struct mask16 {
  std::uint32_t v;
};

template <class Fn>
OFFRAMP_SIMD_FN f32x16 each_lane(Fn fn) {
  f32x16 out;
  for (int i = 0; i < kLanes; ++i) out.v[i] = fn(i);
  return out;
}
template <class Fn>
OFFRAMP_SIMD_FN mask16 each_bit(Fn fn) {
  mask16 out{0};
  for (int i = 0; i < kLanes; ++i) out.v |= static_cast<std::uint32_t>(fn(i)) << i;
  return out;
}

OFFRAMP_SIMD_FN f32x16 splat(float value) {
  return each_lane([&](int) { return value; });
}
OFFRAMP_SIMD_FN mask16 first_lanes(int count) { return {(1u << count) - 1u}; }

template <class T>
OFFRAMP_SIMD_FN f32x16 load_n(const T* p, int count) {
  return each_lane([&](int i) { return i < count ? static_cast<float>(p[i]) : 0.f; });
}
template <class T>
OFFRAMP_SIMD_FN void store_n(T* p, f32x16 a, int count) {
  for (int i = 0; i < count; ++i) p[i] = static_cast<T>(a.v[i]);
}
template <class T>
OFFRAMP_SIMD_FN f32x16 load(const T* p) {
  return load_n(p, kLanes);
}
template <class T>
OFFRAMP_SIMD_FN void store(T* p, f32x16 a) {
  store_n(p, a, kLanes);
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
  return each_lane([&](int i) { return a.v[i] + b.v[i]; });
}
OFFRAMP_SIMD_FN f32x16 operator-(f32x16 a, f32x16 b) {
  return each_lane([&](int i) { return a.v[i] - b.v[i]; });
}
OFFRAMP_SIMD_FN f32x16 operator*(f32x16 a, f32x16 b) {
  return each_lane([&](int i) { return a.v[i] * b.v[i]; });
}
OFFRAMP_SIMD_FN f32x16 operator/(f32x16 a, f32x16 b) {
  return each_lane([&](int i) { return a.v[i] / b.v[i]; });
}
OFFRAMP_SIMD_FN f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
  return each_lane([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); });
}
OFFRAMP_SIMD_FN f32x16 max(f32x16 a, f32x16 b) {
  return each_lane([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
OFFRAMP_SIMD_FN f32x16 min(f32x16 a, f32x16 b) {
  return each_lane([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
OFFRAMP_SIMD_FN f32x16 sqrt(f32x16 a) {
  return each_lane([&](int i) { return std::sqrt(a.v[i]); });
}
OFFRAMP_SIMD_FN f32x16 abs(f32x16 a) {
  return each_lane([&](int i) { return std::fabs(a.v[i]); });
}
OFFRAMP_SIMD_FN f32x16 flip_sign(f32x16 a) {
  return each_lane([&](int i) { return -a.v[i]; });
}
OFFRAMP_SIMD_FN f32x16 round_even(f32x16 a) {
  return each_lane([&](int i) { return std::nearbyint(a.v[i]); });
}
OFFRAMP_SIMD_FN f32x16 scale_pow2(f32x16 a, f32x16 n) {
  return each_lane(
      [&](int i) { return std::isnan(n.v[i]) ? n.v[i] : std::ldexp(a.v[i], static_cast<int>(n.v[i])); });
}

OFFRAMP_SIMD_FN mask16 greater(f32x16 a, f32x16 b) {
  return each_bit([&](int i) { return a.v[i] > b.v[i]; });
}
OFFRAMP_SIMD_FN mask16 equal(f32x16 a, f32x16 b) {
  return each_bit([&](int i) { return a.v[i] == b.v[i]; });
}
OFFRAMP_SIMD_FN mask16 differs(f32x16 a, f32x16 b) {
  return each_bit([&](int i) { return !(a.v[i] == b.v[i]); });
}
OFFRAMP_SIMD_FN mask16 operator|(mask16 a, mask16 b) { return {a.v | b.v}; }
OFFRAMP_SIMD_FN mask16 operator&(mask16 a, mask16 b) { return {a.v & b.v}; }
OFFRAMP_SIMD_FN std::uint32_t bits(mask16 m) { return m.v; }
OFFRAMP_SIMD_FN mask16 mask_from_bits(std::uint32_t b) { return {b & 0xffffu}; }
OFFRAMP_SIMD_FN f32x16 select(mask16 m, f32x16 yes, f32x16 no) {
  return each_lane([&](int i) { return m.v >> i & 1u ? yes.v[i] : no.v[i]; });
}
OFFRAMP_SIMD_FN f32x16 keep(mask16 m, f32x16 a) {
  return each_lane([&](int i) { return m.v >> i & 1u ? a.v[i] : 0.f; });
}

OFFRAMP_SIMD_FN float sum(f32x16 a) {
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) a.v[i] += a.v[i + half];
  }
  return a.v[0];
}
OFFRAMP_SIMD_FN float max_lane(f32x16 a) {
  float best = a.v[0];
  for (int i = 1; i < kLanes; ++i) best = a.v[i] > best ? a.v[i] : best;
  return best;
}

}  // namespace OFFRAMP_SIMD_NAMESPACE
}  // namespace offramp::cpu
