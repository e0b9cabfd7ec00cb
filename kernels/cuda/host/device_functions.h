#pragma once
// CUDA's device functions on the host. Global names and signatures as in CUDA, plus the place of the call,
// for reports. What CUDA leaves open is answered as unhelpfully as it allows: a shuffle from a lane that is
// not there gives poison, and __activemask sees the calling lane only.
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "kernels/cuda/host/atomics.h"
#include "kernels/cuda/host/block.h"

#define OFFRAMP_HERE std::source_location where = std::source_location::current()

// ---- barriers
inline void __syncthreads(OFFRAMP_HERE) {
  using namespace offramp::cuda::host;
  Block::current().barrier(BarrierResult::kNone, false, where);
}
inline int __syncthreads_count(int predicate, OFFRAMP_HERE) {
  using namespace offramp::cuda::host;
  return Block::current().barrier(BarrierResult::kCount, predicate != 0, where);
}
inline int __syncthreads_and(int predicate, OFFRAMP_HERE) {
  using namespace offramp::cuda::host;
  return Block::current().barrier(BarrierResult::kAnd, predicate != 0, where);
}
inline int __syncthreads_or(int predicate, OFFRAMP_HERE) {
  using namespace offramp::cuda::host;
  return Block::current().barrier(BarrierResult::kOr, predicate != 0, where);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, OFFRAMP_HERE) {
  using namespace offramp::cuda::host;
  Block::current().warp_op(WarpOp::kSync, mask, 0, 0, where);
}

// ---- votes and matches
inline unsigned __ballot_sync(unsigned mask, int predicate, OFFRAMP_HERE) {
  using namespace offramp::cuda::host;
  return static_cast<unsigned>(Block::current().warp_op(WarpOp::kBallot, mask, predicate != 0, 0, where));
}
inline int __any_sync(unsigned mask, int predicate, OFFRAMP_HERE) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, OFFRAMP_HERE) {
  return __ballot_sync(mask, predicate == 0, where) == 0;
}
inline unsigned __activemask() { return 1u << offramp::cuda::host::Block::lane(); }

namespace offramp::cuda::host {

template <class T>
std::uint64_t to_bits(T value) {
  static_assert((sizeof(T) == 4 || sizeof(T) == 8) && std::is_arithmetic_v<T>,
                "4- and 8-byte numbers, as in CUDA");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

template <class T>
T shuffle(unsigned mask, T value, int source_lane, const std::source_location& where) {
  const std::uint64_t bits = Block::current().warp_op(
      WarpOp::kShuffle, mask, to_bits(value), static_cast<unsigned>(source_lane), where);
  T result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

}  // namespace offramp::cuda::host

template <class T>
unsigned __match_any_sync(unsigned mask, T value, OFFRAMP_HERE) {
  using namespace offramp::cuda::host;
  return static_cast<unsigned>(Block::current().warp_op(WarpOp::kMatchAny, mask, to_bits(value), 0, where));
}
template <class T>
unsigned __match_all_sync(unsigned mask, T value, int* all_equal, OFFRAMP_HERE) {
  using namespace offramp::cuda::host;
  const auto equal =
      static_cast<unsigned>(Block::current().warp_op(WarpOp::kMatchAll, mask, to_bits(value), 0, where));
  *all_equal = equal != 0;
  return equal;
}

// ---- shuffles: within groups of `width` lanes, a power of two
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, OFFRAMP_HERE) {
  const int lane = static_cast<int>(offramp::cuda::host::Block::lane());
  return offramp::cuda::host::shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, OFFRAMP_HERE) {
  const int lane = static_cast<int>(offramp::cuda::host::Block::lane());
  const int source = lane - static_cast<int>(delta);
  return offramp::cuda::host::shuffle(mask, value, source < (lane & ~(width - 1)) ? lane : source, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, OFFRAMP_HERE) {
  const int lane = static_cast<int>(offramp::cuda::host::Block::lane());
  const int source = lane + static_cast<int>(delta);
  return offramp::cuda::host::shuffle(
      mask, value, ((source ^ lane) & ~(width - 1)) != 0 ? lane : source, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, OFFRAMP_HERE) {
  const int lane = static_cast<int>(offramp::cuda::host::Block::lane());
  const int source = lane ^ lane_mask;
  return offramp::cuda::host::shuffle(
      mask, value, source >= (lane & ~(width - 1)) + width ? lane : source, where);
}

// ---- warp reductions of integers (sm_80 and up on a device)
namespace offramp::cuda::host {
template <class T, class Combine>
T reduce_lanes(unsigned mask, T value, Combine combine, const std::source_location& where) {
  T result = value;
  bool first = true;
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1u) == 0) continue;
    const T other = shuffle(mask, value, lane, where);
    result = first ? other : combine(result, other);
    first = false;
  }
  return result;
}
}  // namespace offramp::cuda::host
template <class T>
requires(std::is_same_v<T, unsigned> || std::is_same_v<T, int>) T
    __reduce_add_sync(unsigned mask, T value, OFFRAMP_HERE) {
  return static_cast<T>(offramp::cuda::host::reduce_lanes(
      mask, static_cast<unsigned>(value), [](unsigned a, unsigned b) { return a + b; }, where));
}
template <class T>
requires(std::is_same_v<T, unsigned> || std::is_same_v<T, int>) T
    __reduce_max_sync(unsigned mask, T value, OFFRAMP_HERE) {
  return offramp::cuda::host::reduce_lanes(
      mask, value, [](T a, T b) { return a < b ? b : a; }, where);
}
template <class T>
requires(std::is_same_v<T, unsigned> || std::is_same_v<T, int>) T
    __reduce_min_sync(unsigned mask, T value, OFFRAMP_HERE) {
  return offramp::cuda::host::reduce_lanes(
      mask, value, [](T a, T b) { return b < a ? b : a; }, where);
}

// ---- numbers
using std::isfinite, std::isinf, std::isnan;
template <class T>
T __ldg(const T* address) {
  return *address;
}
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __popcll(unsigned long long bits) { return std::popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
// Single operations that no compiler may fuse; the host build compiles with -ffp-contract=off.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }

#undef OFFRAMP_HERE
