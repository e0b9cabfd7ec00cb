#pragma once
// What the kernels share: places of threads, 16-byte loads and stores with conversion, reductions of warps
// and blocks in a fixed order. Only .cu files include this.
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/launch.h"

namespace offramp::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

template <class A, class B>
constexpr A ceil_div(A a, B b) {
  return (a + static_cast<A>(b) - 1) / static_cast<A>(b);
}

// ---- places
__device__ __forceinline__ int thread_x() { return static_cast<int>(threadIdx.x); }
__device__ __forceinline__ int thread_y() { return static_cast<int>(threadIdx.y); }
__device__ __forceinline__ int block_x() { return static_cast<int>(blockIdx.x); }
__device__ __forceinline__ int block_y() { return static_cast<int>(blockIdx.y); }
__device__ __forceinline__ int block_z() { return static_cast<int>(blockIdx.z); }
// Of a one-dimensional launch.
__device__ __forceinline__ std::int64_t grid_thread() {
  return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ std::int64_t grid_threads() { return std::int64_t{gridDim.x} * blockDim.x; }

// Pixel `index` of images of height x width. 32-bit: pixels of a batch are counted in int.
struct Pixel {
  int n, row, column;
};
__device__ __forceinline__ Pixel pixel_at(int index, int height, int width) {
  const int image = index / (height * width), rest = index - image * height * width;
  return {image, rest / width, rest % width};
}

// ---- numbers
__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(bf16 v) { return static_cast<float>(v); }

template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));  // elements of a 16-byte access

template <class T, int N>
struct alignas(N * sizeof(T)) Pack {
  T v[N];
};

template <class T, int N>
__device__ __forceinline__ void unpack(const Pack<T, N>& pack, float (&out)[N]) {
#pragma unroll
  for (int j = 0; j < N; ++j) out[j] = to_float(pack.v[j]);
}

// N values from `from` as floats, in accesses of at most 16 bytes; `from` is aligned to them.
template <int N, class T>
__device__ __forceinline__ void load(const T* from, float (&out)[N]) {
  constexpr int kStep = N < kVector<T> ? N : kVector<T>;
#pragma unroll
  for (int i = 0; i < N; i += kStep) {
    const auto pack = *reinterpret_cast<const Pack<T, kStep>*>(from + i);
#pragma unroll
    for (int j = 0; j < kStep; ++j) out[i + j] = to_float(pack.v[j]);
  }
}

template <int N, class T>
__device__ __forceinline__ void store(T* to, const float (&values)[N], bool accumulate) {
  constexpr int kStep = N < kVector<T> ? N : kVector<T>;
#pragma unroll
  for (int i = 0; i < N; i += kStep) {
    Pack<T, kStep> pack;
    if (accumulate) {
      pack = *reinterpret_cast<const Pack<T, kStep>*>(to + i);
#pragma unroll
      for (int j = 0; j < kStep; ++j) pack.v[j] = static_cast<T>(to_float(pack.v[j]) + values[i + j]);
    } else {
#pragma unroll
      for (int j = 0; j < kStep; ++j) pack.v[j] = static_cast<T>(values[i + j]);
    }
    *reinterpret_cast<Pack<T, kStep>*>(to + i) = pack;
  }
}

template <class T>
__device__ __forceinline__ void store(T* to, float value, bool accumulate) {
  *to = static_cast<T>(accumulate ? to_float(*to) + value : value);
}

// Whether rows of `width` elements from here on can be read in vectors of `bytes` bytes.
template <class T>
bool aligned(const T* pointer, std::size_t bytes = 16) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

// ---- reductions: the order depends on the shape of the launch only
template <class T>
__device__ __forceinline__ T warp_sum(T v) {  // every lane gets the sum
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(kAllLanes, v, offset);
  return v;
}
__device__ __forceinline__ float warp_max(float v) {  // NaN is ignored unless every lane has one
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) v = fmaxf(v, __shfl_xor_sync(kAllLanes, v, offset));
  return v;
}
// The largest value and, among equals, its smallest index.
__device__ __forceinline__ void warp_argmax(float& value, int& index) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, value, offset);
    const int other_index = __shfl_xor_sync(kAllLanes, index, offset);
    if (other > value || (other == value && other_index < index)) {
      value = other;
      index = other_index;
    }
  }
}

// Sum over a one-dimensional block of kThreads (a multiple of 32); thread 0 gets it. May be called again
// after a barrier.
template <int kThreads, class T>
__device__ __forceinline__ T block_sum(T v) {
  OFFRAMP_SHARED(T, warp_sums, [kThreads / 32]);
  v = warp_sum(v);
  if (thread_x() % 32 == 0) warp_sums[thread_x() / 32] = v;
  __syncthreads();
  if (thread_x() == 0) {
    v = warp_sums[0];
    for (int i = 1; i < kThreads / 32; ++i) v += warp_sums[i];
  }
  return v;
}

}  // namespace offramp::cuda
