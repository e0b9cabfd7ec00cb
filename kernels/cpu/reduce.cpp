// Reductions: float lanes over a chunk of fixed size, then double over lanes and chunks.
#include "kernels/reduce.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/cpu/loops.h"

namespace offramp::cpu {
namespace {

// Sum of term(i, lanes) over begin .. end - 1; lanes that are not there must be 0 in the term.
template <class Term>
OFFRAMP_SIMD_FN double sum_terms(std::int64_t begin, std::int64_t end, Term term) {
  double total = 0;
  for (std::int64_t chunk = begin; chunk < end; chunk += kChunk) {
    f32x16 lanes_sum = zero();
    each_vector(chunk, std::min(end, chunk + kChunk), [&](std::int64_t i, auto lanes) {
      lanes_sum += term(i, lanes);
    });
    float lane[kLanes];
    store(lane, lanes_sum);
    double sum = 0;
    for (const float value : lane) sum += static_cast<double>(value);
    total += sum;
  }
  return total;
}

// The same for one long array, over threads.
template <class Term>
double sum_chunks(Context& ctx, std::int64_t n, Term term) {
  const std::int64_t chunks = chunk_count(n, kChunk);
  auto* partial = static_cast<double*>(
      ctx.workspace(Context::kPartials, sizeof(double) * static_cast<std::size_t>(chunks)));
  for_chunks(ctx, n, kChunk, [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
    partial[index] = sum_terms(begin, end, term);
  });
  double total = 0;
  for (std::int64_t i = 0; i < chunks; ++i) total += partial[i];
  return total;
}

float largest(std::int64_t n, const float* x) {
  f32x16 best = zero();
  std::uint32_t nan = 0;
  each_vector(0, n, [&](std::int64_t i, auto lanes) {
    const f32x16 v = load(x + i, lanes);
    best = max(abs(v), best);
    nan |= bits(differs(v, v));
  });
  return nan != 0 ? std::numeric_limits<float>::quiet_NaN() : max_lane(best);
}

float norm_of(RowNorm kind, std::int64_t n, const float* x) {
  switch (kind) {
    case RowNorm::kSum:
      return static_cast<float>(
          sum_terms(0, n, [&](std::int64_t i, auto lanes) { return load(x + i, lanes); }));
    case RowNorm::kL1:
      return static_cast<float>(
          sum_terms(0, n, [&](std::int64_t i, auto lanes) { return abs(load(x + i, lanes)); }));
    case RowNorm::kLinf:
      return largest(n, x);
    case RowNorm::kSquaredL2:
    case RowNorm::kL2:
      break;
  }
  const double squares = sum_terms(0, n, [&](std::int64_t i, auto lanes) {
    const f32x16 v = load(x + i, lanes);
    return v * v;
  });
  return static_cast<float>(kind == RowNorm::kL2 ? std::sqrt(squares) : squares);
}

}  // namespace

template <class T>
void sum_all(Context& ctx, std::int64_t n, const T* x, float* out, Write write) {
  const double sum = sum_chunks(ctx, n, [=](std::int64_t i, auto lanes) { return load(x + i, lanes); });
  *out = write == Write::kAccumulate ? *out + static_cast<float>(sum) : static_cast<float>(sum);
}

void dot(Context& ctx, std::int64_t n, const float* a, const float* b, float* out) {
  *out = static_cast<float>(sum_chunks(
      ctx, n, [=](std::int64_t i, auto lanes) { return load(a + i, lanes) * load(b + i, lanes); }));
}

void row_norm(Context& ctx, int rows, std::int64_t cols, RowNorm kind, const float* x, float* out) {
  parallel_for(ctx, rows, [=](std::int64_t r) { out[r] = norm_of(kind, cols, x + r * cols); });
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
  parallel_for(ctx, rows, [=](std::int64_t r) {
    const float *row = x + r * cols, d = dnorm[r];
    float* to = dx + r * cols;
    const auto each = [&](auto slope) {
      each_vector(0, cols, [&](std::int64_t i, auto lanes) {
        put(to + i, slope(load(row + i, lanes)), lanes, write);
      });
    };
    switch (kind) {
      case RowNorm::kSum:
        return each([=](f32x16) { return splat(d); });
      case RowNorm::kL1:
        return each([=](f32x16 v) {
          return keep(greater(v, zero()), splat(d)) - keep(greater(zero(), v), splat(d));
        });
      case RowNorm::kSquaredL2:
        return each([=](f32x16 v) { return splat(2 * d) * v; });
      case RowNorm::kL2: {
        const float factor = norm[r] > 0 ? d / norm[r] : 0.f;
        return each([=](f32x16 v) { return splat(factor) * v; });
      }
      case RowNorm::kLinf:
        break;
    }
    if (write == Write::kOverwrite) std::fill(to, to + cols, 0.f);
    const float* top = std::find_if(row, row + cols, [&](float v) { return std::fabs(v) == norm[r]; });
    if (top != row + cols && *top != 0) to[top - row] += *top > 0 ? d : -d;
  });
}

void column_sum(Context& ctx, int rows, int cols, const float* x, float* out, Write write) {
  constexpr int kColumns = 64;
  for_chunks(ctx, cols, kColumns, [=](std::int64_t, std::int64_t begin, std::int64_t end) {
    double sums[kColumns] = {};
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = begin; c < end; ++c) sums[c - begin] += static_cast<double>(x[r * cols + c]);
    }
    for (std::int64_t c = begin; c < end; ++c) {
      const auto sum = static_cast<float>(sums[c - begin]);
      out[c] = write == Write::kAccumulate ? out[c] + sum : sum;
    }
  });
}

template <class T>
void count_nonfinite(Context& ctx, std::int64_t n, const T* x, std::int32_t* out) {
  const std::int64_t chunks = chunk_count(n, kChunk);
  auto* partial = static_cast<std::int32_t*>(
      ctx.workspace(Context::kPartials, sizeof(std::int32_t) * static_cast<std::size_t>(chunks)));
  for_chunks(ctx, n, kChunk, [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
    int count = 0;
    each_vector(begin, end, [&](std::int64_t i, auto lanes) {
      const f32x16 v = load(x + i, lanes), difference = v - v;  // 0 for finite values, else NaN
      count += std::popcount(bits(differs(difference, difference)));
    });
    partial[index] = count;
  });
  *out = 0;
  for (std::int64_t i = 0; i < chunks; ++i) *out += partial[i];
}

template void sum_all(Context&, std::int64_t, const float*, float*, Write);
template void sum_all(Context&, std::int64_t, const bf16*, float*, Write);
template void count_nonfinite(Context&, std::int64_t, const float*, std::int32_t*);
template void count_nonfinite(Context&, std::int64_t, const bf16*, std::int32_t*);

}  // namespace offramp::cpu
