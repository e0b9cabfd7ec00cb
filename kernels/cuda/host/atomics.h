#pragma once
// CUDA's atomic functions on the host: relaxed, as on a device. Types as in CUDA.
#include <atomic>
#include <concepts>
#include <type_traits>

#include "kernels/cuda/host/sanitizers.h"

namespace offramp::cuda::host {

template <class T>
concept AtomicWord = std::same_as<T, int> || std::same_as<T, unsigned> ||
    std::same_as<T, unsigned long long> || std::same_as<T, unsigned long>;
template <class T>
concept AtomicNumber = AtomicWord<T> || std::same_as<T, float> || std::same_as<T, double>;

// Replaces *address by next(old); returns old.
template <class T, class Next>
T atomic_update(T* address, Next next) {
  std::atomic_ref<T> target(*address);
  T old = target.load(std::memory_order_relaxed);
  while (!target.compare_exchange_weak(old, next(old), std::memory_order_relaxed)) {
  }
  return old;
}

}  // namespace offramp::cuda::host

template <offramp::cuda::host::AtomicNumber T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}
template <offramp::cuda::host::AtomicWord T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return offramp::cuda::host::atomic_update(address, [=](T old) { return old < value ? value : old; });
}
template <offramp::cuda::host::AtomicWord T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return offramp::cuda::host::atomic_update(address, [=](T old) { return value < old ? value : old; });
}
template <offramp::cuda::host::AtomicWord T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_or(value, std::memory_order_relaxed);
}
template <offramp::cuda::host::AtomicWord T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_and(value, std::memory_order_relaxed);
}
template <class T>
requires(offramp::cuda::host::AtomicWord<T> || std::same_as<T, float>) T
    atomicExch(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).exchange(value, std::memory_order_relaxed);
}
template <offramp::cuda::host::AtomicWord T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  std::atomic_ref<T>(*address).compare_exchange_strong(expected, value, std::memory_order_relaxed);
  return expected;
}

// Orders this thread's accesses before and after it. TSan knows no fences; it is told that all fences of a
// process follow each other, which holds for the usual pattern (write, fence, count; the last one reads).
inline void __threadfence() {
#if defined(OFFRAMP_HOST_TSAN)
  static char fence = 0;
  offramp::cuda::host::happens_before(&fence);
  offramp::cuda::host::happens_after(&fence);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}
