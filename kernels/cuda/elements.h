#pragma once
// One pass over n elements: each thread takes kStep of them at a time, in 16-byte accesses where every
// pointer allows it. A pass is a small struct with `template <int N> __device__ void run(std::int64_t first)
// const`, called with N = kStep, or with N = 1 for the tail and where a pointer is not aligned.
#include <algorithm>

#include "kernels/cuda/context.h"
#include "kernels/cuda/device_helpers.h"

namespace offramp::cuda {

inline constexpr int kElementThreads = 256;

template <int kStep, class Pass>
__global__ void __launch_bounds__(kElementThreads) elements_kernel(std::int64_t n, Pass pass) {
  follow();
  for (std::int64_t i = grid_thread() * kStep; i < n; i += grid_threads() * kStep) {
    if (i + kStep <= n) {
      pass.template run<kStep>(i);
    } else {
      for (std::int64_t j = i; j < n; ++j) pass.template run<1>(j);
    }
  }
}

template <int kStep, class Pass>
void run_elements(Context& ctx, std::int64_t n, bool all_aligned, const Pass& pass) {
  if (n == 0) return;
  constexpr std::int64_t kMaxBlocks = 8192;  // more work is done in a loop
  const auto blocks = [&](int step) {
    return static_cast<unsigned>(std::min(ceil_div(n, std::int64_t{kElementThreads} * step), kMaxBlocks));
  };
  if (all_aligned) {
    launch(elements_kernel<kStep, Pass>, blocks(kStep), kElementThreads, 0, ctx.stream(), n, pass);
  } else {
    launch(elements_kernel<1, Pass>, blocks(1), kElementThreads, 0, ctx.stream(), n, pass);
  }
}

// Elements a step, so that the narrowest type is read in 16 bytes.
template <class... T>
inline constexpr int kElementStep = std::max({kVector<T>...});

// out = or += f(a), f(a, b), f(a, b, c); f works on floats.
template <class F, class Out, class A>
struct Map1 {
  F f;
  const A* a;
  Out* out;
  bool accumulate;
  template <int N>
  __device__ void run(std::int64_t i) const {
    float x[N], y[N];
    load(a + i, x);
#pragma unroll
    for (int j = 0; j < N; ++j) y[j] = f(x[j]);
    store(out + i, y, accumulate);
  }
};
template <class F, class Out, class A, class B>
struct Map2 {
  F f;
  const A* a;
  const B* b;
  Out* out;
  bool accumulate;
  template <int N>
  __device__ void run(std::int64_t i) const {
    float x[N], y[N], z[N];
    load(a + i, x);
    load(b + i, y);
#pragma unroll
    for (int j = 0; j < N; ++j) z[j] = f(x[j], y[j]);
    store(out + i, z, accumulate);
  }
};

template <class F, class Out, class A>
void map(Context& ctx, std::int64_t n, F f, const A* a, Out* out, Write write = Write::kOverwrite) {
  run_elements<kElementStep<Out, A>>(
      ctx, n, aligned(a) && aligned(out), Map1<F, Out, A>{f, a, out, write == Write::kAccumulate});
}
template <class F, class Out, class A, class B>
void map(
    Context& ctx, std::int64_t n, F f, const A* a, const B* b, Out* out, Write write = Write::kOverwrite) {
  run_elements<kElementStep<Out, A, B>>(ctx,
                                        n,
                                        aligned(a) && aligned(b) && aligned(out),
                                        Map2<F, Out, A, B>{f, a, b, out, write == Write::kAccumulate});
}

}  // namespace offramp::cuda
