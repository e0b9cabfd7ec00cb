// Softmax and confidence by rows, rows over threads.
#include "kernels/softmax.h"

#include <cmath>

#include "kernels/cpu/softmax_row.h"

namespace offramp::cpu {
namespace {

// body(row, offset of its first value).
template <class Body>
void each_row(const Context& ctx, int rows, int cols, Body body) {
  for_chunks(ctx, rows, rows_per_chunk(cols), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) body(r, r * cols);
  });
}

}  // namespace

void softmax_rows(Context& ctx, int rows, int cols, const float* x, float* y) {
  each_row(ctx, rows, cols, [=](std::int64_t, std::int64_t row) {
    const f32x16 total = splat(sum_of_exp(cols, x + row, row_max(cols, x + row).max, y + row));
    each_vector(row, row + cols, [&](std::int64_t k, auto lanes) {
      store(y + k, load(y + k, lanes) / total, lanes);
    });
  });
}

void softmax_rows_backward(
    Context& ctx, int rows, int cols, const float* y, const float* dy, float* dx, Write write) {
  each_row(ctx, rows, cols, [=](std::int64_t, std::int64_t row) {
    f32x16 products = zero();
    each_vector(row, row + cols, [&](std::int64_t k, auto lanes) {
      products = fma(load(y + k, lanes), load(dy + k, lanes), products);
    });
    const f32x16 dot = splat(sum(products));
    each_vector(row, row + cols, [&](std::int64_t k, auto lanes) {
      put(dx + k, load(y + k, lanes) * (load(dy + k, lanes) - dot), lanes, write);
    });
  });
}

void log_softmax_rows(Context& ctx, int rows, int cols, const float* x, float* y) {
  each_row(ctx, rows, cols, [=](std::int64_t, std::int64_t row) {
    const float max = row_max(cols, x + row).max, log_sum = std::log(sum_of_exp(cols, x + row, max, nullptr));
    each_vector(row, row + cols, [&](std::int64_t k, auto lanes) {
      store(y + k, (load(x + k, lanes) - splat(max)) - splat(log_sum), lanes);
    });
  });
}

void log_softmax_rows_backward(
    Context& ctx, int rows, int cols, const float* y, const float* dy, float* dx, Write write) {
  each_row(ctx, rows, cols, [=](std::int64_t, std::int64_t row) {
    f32x16 lanes_sum = zero();
    each_vector(row, row + cols, [&](std::int64_t k, auto lanes) { lanes_sum += load(dy + k, lanes); });
    const f32x16 total = splat(sum(lanes_sum));
    each_vector(row, row + cols, [&](std::int64_t k, auto lanes) {
      put(dx + k, fma(-exp(load(y + k, lanes)), total, load(dy + k, lanes)), lanes, write);
    });
  });
}

void row_confidence(
    Context& ctx, int rows, int cols, const float* logits, float* confidence, std::int32_t* argmax) {
  each_row(ctx, rows, cols, [=](std::int64_t r, std::int64_t row) {
    const RowMax top = row_max(cols, logits + row);
    confidence[r] = 1.f / sum_of_exp(cols, logits + row, top.max, nullptr);
    if (argmax != nullptr) argmax[r] = top.argmax;
  });
}

// The logit of the argmax is the row maximum, and the confidence is 1 / sum of exp.
void row_confidence_backward(Context& ctx,
                             int rows,
                             int cols,
                             const float* logits,
                             const float* confidence,
                             const std::int32_t* argmax,
                             const float* dconf,
                             float* dlogits,
                             Write write) {
  each_row(ctx, rows, cols, [=](std::int64_t r, std::int64_t row) {
    const float slope = dconf[r] * confidence[r], max = logits[row + argmax[r]];
    each_vector(row, row + cols, [&](std::int64_t k, auto lanes) {
      const f32x16 p = exp(load(logits + k, lanes) - splat(max)) * splat(confidence[r]);
      put(dlogits + k, splat(-slope) * p, lanes, write);
    });
    dlogits[row + argmax[r]] += slope;
  });
}

}  // namespace offramp::cpu
