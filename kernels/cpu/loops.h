#pragma once
// Loops over flat arrays, 16 values at a time. A body is called as body(i, lanes) with `lanes` of type
// AllLanes for full vectors and SomeLanes for the tail, so that the common case has no masks and both compute
// the same bits.
#include "kernels/backend.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace offramp::cpu {

struct AllLanes {
  static constexpr int count = kLanes;
};
struct SomeLanes {
  int count;
};

template <class T>
OFFRAMP_SIMD_FN f32x16 load(const T* p, AllLanes) {
  return load(p);
}
template <class T>
OFFRAMP_SIMD_FN f32x16 load(const T* p, SomeLanes lanes) {
  return load_n(p, lanes.count);
}
template <class T>
OFFRAMP_SIMD_FN void store(T* p, f32x16 v, AllLanes) {
  store(p, v);
}
template <class T>
OFFRAMP_SIMD_FN void store(T* p, f32x16 v, SomeLanes lanes) {
  store_n(p, v, lanes.count);
}
// 0 in the lanes that are not there.
OFFRAMP_SIMD_FN f32x16 blank(f32x16 v, AllLanes) { return v; }
OFFRAMP_SIMD_FN f32x16 blank(f32x16 v, SomeLanes lanes) { return keep(first_lanes(lanes.count), v); }

template <class T, class Lanes>
OFFRAMP_SIMD_FN void put(T* p, f32x16 v, Lanes lanes, Write write) {
  store(p, write == Write::kAccumulate ? load(p, lanes) + v : v, lanes);
}

// body(i, lanes) for i = begin, begin + 16, ... below end.
template <class Body>
OFFRAMP_SIMD_FN void each_vector(std::int64_t begin, std::int64_t end, Body&& body) {
  std::int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) body(i, AllLanes{});
  if (i < end) body(i, SomeLanes{static_cast<int>(end - i)});
}

// Values of a chunk: 64 KiB of float32, a few microseconds, well above the cost of a thread hand-off.
inline constexpr std::int64_t kChunk = 16384;

// The same over 0 .. n - 1 on all threads.
template <class Body>
void parallel_vectors(const Context& ctx, std::int64_t n, Body body) {
  for_chunks(ctx, n, kChunk, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    each_vector(begin, end, body);
  });
}

}  // namespace offramp::cpu
