// Reductions with a fixed order: the work is cut into pieces by its size alone, a block sums one piece, and
// the last of them adds the pieces up in order. The inputs are read once.
#include "kernels/reduce.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/context.h"
#include "kernels/cuda/last_block.h"

namespace offramp::cuda {
namespace {

constexpr int kThreads = 256;

// Elements that one block sums: enough blocks for every multiprocessor, few enough for one block to finish.
std::int64_t piece_size(std::int64_t n) {
  constexpr std::int64_t kMaxPieces = 1024, kMinPiece = 8 * kThreads;
  return std::max(kMinPiece, ceil_div(n, kMaxPieces));
}

template <class T>
struct SumValue {
  const T* x;
  __device__ float operator()(std::int64_t i) const { return to_float(x[i]); }
};
struct DotValue {
  const float* a;
  const float* b;
  __device__ float operator()(std::int64_t i) const { return a[i] * b[i]; }
};

template <class Value>
__global__ void __launch_bounds__(kThreads) sum_kernel(std::int64_t n,
                                                       std::int64_t piece,
                                                       Value value,
                                                       double* sums,
                                                       unsigned* arrived,
                                                       float* out,
                                                       bool accumulate) {
  follow();
  const std::int64_t first = block_x() * piece, last = first + piece < n ? first + piece : n;
  float sum = 0;
  for (std::int64_t i = first + thread_x(); i < last; i += kThreads) sum += value(i);
  const double own = block_sum<kThreads>(static_cast<double>(sum));
  if (thread_x() == 0) sums[block_x()] = own;
  if (!last_block(arrived, gridDim.x)) return;
  double all = 0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += kThreads) all += sums[i];
  const double total = block_sum<kThreads>(all);
  if (thread_x() == 0) store(out, static_cast<float>(total), accumulate);
}

template <class Value>
void sum_of(Context& ctx, std::int64_t n, Value value, float* out, Write write) {
  const std::int64_t piece = piece_size(n);
  const int pieces = std::max(static_cast<int>(ceil_div(n, piece)), 1);  // of nothing: zero
  auto* sums = static_cast<double*>(
      ctx.workspace(Context::kPartials, static_cast<std::size_t>(pieces) * sizeof(double)));
  launch(sum_kernel<Value>,
         pieces,
         kThreads,
         0,
         ctx.stream(),
         n,
         piece,
         value,
         sums,
         ctx.arrivals(1),
         out,
         write == Write::kAccumulate);
}

// ---- norms of rows: one block a row

// NaN wins a maximum.
__device__ float max_with_nan(float a, float b) { return a > b || isnan(a) ? a : b; }

__global__ void __launch_bounds__(kThreads)
    row_norm_kernel(std::int64_t cols, RowNorm kind, const float* x, float* out) {
  follow();
  const float* row = x + block_x() * cols;
  float sum = 0, largest = 0;
  for (std::int64_t c = thread_x(); c < cols; c += kThreads) {
    const float v = row[c];
    switch (kind) {
      case RowNorm::kSum:
        sum += v;
        break;
      case RowNorm::kL1:
        sum += fabsf(v);
        break;
      case RowNorm::kSquaredL2:
      case RowNorm::kL2:
        sum += v * v;
        break;
      case RowNorm::kLinf:
        largest = max_with_nan(largest, fabsf(v));
        break;
    }
  }
  if (kind == RowNorm::kLinf) {
    OFFRAMP_SHARED(float, shared_max, [kThreads]);
    shared_max[thread_x()] = largest;
    __syncthreads();
    if (thread_x() == 0) {
      for (int i = 1; i < kThreads; ++i) largest = max_with_nan(largest, shared_max[i]);
      out[block_x()] = largest;
    }
    return;
  }
  const double total = block_sum<kThreads>(static_cast<double>(sum));
  if (thread_x() == 0) out[block_x()] = static_cast<float>(kind == RowNorm::kL2 ? sqrt(total) : total);
}

__global__ void __launch_bounds__(kThreads) row_norm_backward_kernel(std::int64_t cols,
                                                                     RowNorm kind,
                                                                     const float* x,
                                                                     const float* norm,
                                                                     const float* dnorm,
                                                                     float* dx,
                                                                     bool accumulate) {
  follow();
  const float* row = x + block_x() * cols;
  float* drow = dx + block_x() * cols;
  const float size = norm[block_x()], d = dnorm[block_x()];
  OFFRAMP_SHARED(unsigned long long, first_largest, [1]);
  if (kind == RowNorm::kLinf) {
    if (thread_x() == 0) first_largest[0] = ~0ull;
    __syncthreads();
    for (std::int64_t c = thread_x(); c < cols; c += kThreads) {
      if (fabsf(row[c]) != size) continue;
      atomicMin(&first_largest[0], static_cast<unsigned long long>(c));
      break;
    }
    __syncthreads();
  }
  for (std::int64_t c = thread_x(); c < cols; c += kThreads) {
    const float v = row[c];
    const float direction = v > 0.f ? 1.f : v < 0.f ? -1.f : 0.f;
    float gradient = 0;
    switch (kind) {
      case RowNorm::kSum:
        gradient = d;
        break;
      case RowNorm::kL1:
        gradient = d * direction;
        break;
      case RowNorm::kSquaredL2:
        gradient = 2.f * d * v;
        break;
      case RowNorm::kL2:
        gradient = size > 0.f ? d * v / size : 0.f;
        break;
      case RowNorm::kLinf:
        gradient = static_cast<unsigned long long>(c) == first_largest[0] ? d * direction : 0.f;
        break;
    }
    store(drow + c, gradient, accumulate);
  }
}

// ---- sums of columns: a block takes 32 columns of a piece of the rows
constexpr int kColumns = 32, kColumnRows = 8;

__global__ void __launch_bounds__(kColumns* kColumnRows) column_sum_kernel(std::int64_t rows,
                                                                           int cols,
                                                                           std::int64_t piece,
                                                                           const float* x,
                                                                           double* sums,
                                                                           unsigned* arrived,
                                                                           float* out,
                                                                           bool accumulate) {
  follow();
  OFFRAMP_SHARED(double, part, [kColumnRows][kColumns]);
  const int c = block_x() * kColumns + thread_x();
  const std::int64_t first = block_y() * piece, last = first + piece < rows ? first + piece : rows;
  const auto column_total = [&](double mine) {  // of the rows of threads, for the first of them
    part[thread_y()][thread_x()] = mine;
    __syncthreads();
    double total = part[0][thread_x()];
    for (int i = 1; i < kColumnRows; ++i) total += part[i][thread_x()];
    return total;
  };
  float sum = 0;
  if (c < cols) {
    for (std::int64_t r = first + thread_y(); r < last; r += kColumnRows) sum += x[r * cols + c];
  }
  const double own = column_total(static_cast<double>(sum));
  if (thread_y() == 0 && c < cols) sums[std::int64_t{block_y()} * cols + c] = own;
  if (!last_block(arrived + block_x(), gridDim.y)) return;
  double all = 0;
  if (c < cols) {
    for (int i = thread_y(); i < static_cast<int>(gridDim.y); i += kColumnRows) {
      all += sums[std::int64_t{i} * cols + c];
    }
  }
  const double total = column_total(all);
  if (thread_y() == 0 && c < cols) store(out + c, static_cast<float>(total), accumulate);
}

// ---- values that are no numbers
__global__ void clear_count_kernel(std::int32_t* out) {
  follow();
  *out = 0;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    count_nonfinite_kernel(std::int64_t n, const T* x, std::int32_t* out) {
  follow();
  int count = 0;
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) count += !isfinite(to_float(x[i]));
  count = warp_sum(count);
  if (thread_x() % 32 == 0 && count != 0) atomicAdd(out, count);
}

}  // namespace

template <class T>
void sum_all(Context& ctx, std::int64_t n, const T* x, float* out, Write write) {
  sum_of(ctx, n, SumValue<T>{x}, out, write);
}

void dot(Context& ctx, std::int64_t n, const float* a, const float* b, float* out) {
  sum_of(ctx, n, DotValue{a, b}, out, Write::kOverwrite);
}

void row_norm(Context& ctx, int rows, std::int64_t cols, RowNorm kind, const float* x, float* out) {
  if (rows == 0) return;
  launch(row_norm_kernel, rows, kThreads, 0, ctx.stream(), cols, kind, x, out);
}

void row_norm_backward(Context& ctx,
                       int rows,
                       std::int64_t cols,
                       RowNorm kind,
                       const float* x,
                       const float* norm,
                       const float* dnorm,
                       float* dx,
                       Write write) {
  if (rows == 0) return;
  launch(row_norm_backward_kernel,
         rows,
         kThreads,
         0,
         ctx.stream(),
         cols,
         kind,
         x,
         norm,
         dnorm,
         dx,
         write == Write::kAccumulate);
}

void column_sum(Context& ctx, int rows, int cols, const float* x, float* out, Write write) {
  if (cols == 0) return;
  const std::int64_t piece = std::max<std::int64_t>(64, ceil_div(std::int64_t{rows}, 256));
  const int pieces = std::max(static_cast<int>(ceil_div(std::int64_t{rows}, piece)), 1);  // of nothing: zero
  auto* sums = static_cast<double*>(
      ctx.workspace(Context::kPartials,
                    static_cast<std::size_t>(pieces) * static_cast<std::size_t>(cols) * sizeof(double)));
  const int tiles = ceil_div(cols, kColumns);
  launch(column_sum_kernel,
         dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(pieces)),
         dim3(kColumns, kColumnRows),
         0,
         ctx.stream(),
         std::int64_t{rows},
         cols,
         piece,
         x,
         sums,
         ctx.arrivals(static_cast<std::size_t>(tiles)),
         out,
         write == Write::kAccumulate);
}

template <class T>
void count_nonfinite(Context& ctx, std::int64_t n, const T* x, std::int32_t* out) {
  launch(clear_count_kernel, 1, 1, 0, ctx.stream(), out);
  if (n == 0) return;
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>(ceil_div(n, 4 * kThreads), 2048));
  launch(count_nonfinite_kernel<T>, blocks, kThreads, 0, ctx.stream(), n, x, out);
}

template void sum_all(Context&, std::int64_t, const float*, float*, Write);
template void sum_all(Context&, std::int64_t, const bf16*, float*, Write);
template void count_nonfinite(Context&, std::int64_t, const float*, std::int32_t*);
template void count_nonfinite(Context&, std::int64_t, const bf16*, std::int32_t*);

}  // namespace offramp::cuda
