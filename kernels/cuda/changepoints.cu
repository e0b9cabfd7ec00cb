// The segment recursion. Per block of 256 rows, from the last: (1) far ends, whose x is known: a warp takes a
// row and a chunk of ends, lanes side by side over the ends; (2) the terms of the triangle but for x, all at
// once; (3) one block merges the chunks in their order and then solves the triangle, an end a step: its x is
// final, and each thread adds it to its own row. A step costs one load and one exponential a thread.
#include "kernels/cuda/changepoints.h"

#include <algorithm>

#include "kernels/cuda/context.h"
#include "kernels/cuda/device_helpers.h"

namespace offramp::cuda {
namespace {

constexpr int kRows = 256, kThreads = 256, kWarps = kThreads / 32;
constexpr int kChunk = 2048;      // ends of one warp: 64 a lane
constexpr double kNone = -1e300;  // log2 of nothing

// A log-sum as largest term and the sum relative to it; a maximum as value and its end.
template <bool kSum>
struct State;
template <>
struct State<true> {
  double top = kNone, rest = 0;
  __device__ void add(double term, int) { merge({term, 1}); }
  __device__ void merge(const State& o) {
    const double high = fmax(top, o.top), less = exp2(fmax(fmin(top, o.top) - high, -2000.0));
    rest = top >= o.top ? rest + o.rest * less : rest * less + o.rest;
    top = high;
  }
  __device__ double value() const { return top + log2(rest); }
};
template <>
struct State<false> {
  double top = kNone, rest = 0;  // rest: the end, exact in a double
  __device__ void add(double term, int end) { merge({term, static_cast<double>(end)}); }
  __device__ void merge(const State& o) {
    if (o.top > top || (o.top == top && o.rest < rest)) *this = o;
  }
  __device__ double value() const { return top; }
};

__device__ double evidence(const SegmentTables& t, int row, int end) {  // but for x[end]
  const int len = end - row;
  const double d1 = t.sum[end] - t.sum[row], d2 = t.half_squares[end] - t.half_squares[row];
  const double inverse = t.inverse[len], off = 2 * d1 * inverse + t.shift;
  const double excess = d2 - d1 * d1 * inverse + t.weight[len] * off * off;
  return t.constant[len] - t.half[len] * log2(t.b0 + fmax(excess, 0.0));
}

template <bool kSum>
__global__ void __launch_bounds__(kThreads)
    far_ends_kernel(SegmentTables t, int begin, int end, const double* x, State<kSum>* parts) {
  follow();
  const int row = begin + block_x() * kWarps + thread_x() / 32, lane = thread_x() % 32;
  if (row >= end) return;  // whole warps
  const int first = end + block_y() * kChunk, last = first + kChunk < t.n ? first + kChunk : t.n;
  State<kSum> state;
  for (int e = first + lane; e < last; e += 32) state.add(evidence(t, row, e) + x[e], e);
  for (int offset = 16; offset > 0; offset /= 2) {
    State<kSum> other;
    other.top = __shfl_down_sync(kAllLanes, state.top, static_cast<unsigned>(offset));
    other.rest = __shfl_down_sync(kAllLanes, state.rest, static_cast<unsigned>(offset));
    if (lane < offset) state.merge(other);
  }
  if (lane == 0) parts[block_y() * kRows + (row - begin)] = state;
}

// near[e - begin][row - begin]: threads of a step read side by side.
__global__ void __launch_bounds__(kThreads)
    near_terms_kernel(SegmentTables t, int begin, int end, double* near) {
  follow();
  const int e = begin + block_x(), row = begin + thread_x();
  if (e < end && row < e) near[block_x() * kRows + thread_x()] = evidence(t, row, e);
}

template <bool kSum>
__global__ void __launch_bounds__(kRows) solve_triangle_kernel(SegmentTables t,
                                                               int begin,
                                                               int end,
                                                               int chunks,
                                                               const State<kSum>* parts,
                                                               const double* near,
                                                               double* x,
                                                               std::int32_t* best_end) {
  follow();
  OFFRAMP_SHARED(double, solved, [kRows]);
  const int row = begin + thread_x();
  State<kSum> state;
  if (row < end) {
    for (int c = 0; c < chunks; ++c) state.merge(parts[c * kRows + thread_x()]);
    state.add(t.last[row], t.n);
  }
  for (int e = end - 1; e >= begin; --e) {
    if (row == e) {
      solved[thread_x()] = state.value();
      x[row] = solved[thread_x()];
      if (!kSum && best_end != nullptr) best_end[row] = static_cast<std::int32_t>(state.rest);
    }
    __syncthreads();
    if (row < e) state.add(near[(e - begin) * kRows + thread_x()] + solved[e - begin], e);
  }
}

template <bool kSum>
void recursion(Context& ctx, const SegmentTables& t, double* x, std::int32_t* end) {
  const int most_chunks = ceil_div(t.n, kChunk);
  auto* parts = static_cast<State<kSum>*>(
      ctx.workspace(Context::kPartials, static_cast<std::size_t>(most_chunks) * kRows * sizeof(State<kSum>)));
  auto* near = static_cast<double*>(
      ctx.workspace(Context::kCoefficients, std::size_t{kRows} * kRows * sizeof(double)));
  for (int block = ceil_div(t.n, kRows) - 1; block >= 0; --block) {
    const int first = block * kRows, last = std::min(t.n, first + kRows);
    const int chunks = ceil_div(t.n - last, kChunk);
    if (chunks > 0) {
      launch(far_ends_kernel<kSum>,
             dim3(static_cast<unsigned>(ceil_div(last - first, kWarps)), static_cast<unsigned>(chunks)),
             kThreads,
             0,
             ctx.stream(),
             t,
             first,
             last,
             x,
             parts);
    }
    launch(near_terms_kernel, last - first, kThreads, 0, ctx.stream(), t, first, last, near);
    launch(
        solve_triangle_kernel<kSum>, 1, kRows, 0, ctx.stream(), t, first, last, chunks, parts, near, x, end);
  }
}

}  // namespace

void segment_recursion(
    Context& ctx, const SegmentTables& t, SegmentReduction reduction, double* x, std::int32_t* end) {
  if (t.n == 0) return;
  if (reduction == SegmentReduction::kLogSum) {
    recursion<true>(ctx, t, x, end);
  } else {
    recursion<false>(ctx, t, x, end);
  }
}

}  // namespace offramp::cuda
