// The linear layer on gemm.h: every output is one chain of multiply-adds, so a row's result does not depend
// on the batch. oneDNN's product is not used: its order changes with the number of rows.
#include "kernels/linear.h"

#include "kernels/cpu/gemm.h"

namespace offramp::cpu {
namespace {

// y[m, n] = sum over d of a[m, d] * b[d, n], b packed.
template <class Store>
void product(Context& ctx,
             std::int64_t rows,
             int depth,
             int cols,
             const float* a,
             const float* packed,
             Store store_vector) {
  const auto fill = [=](std::int64_t begin, std::int64_t end, const RowBlock& block) {
    for (std::int64_t m = begin; m < end; ++m) {
      block.rows[m - begin] = a + m * depth;
      block.out[m - begin] = m * cols;
    }
  };
  gemm_rows(ctx, rows, 1, depth, cols, packed, nullptr, fill, store_vector);
}

float* packed_workspace(Context& ctx, int depth, int cols) {
  return static_cast<float*>(
      ctx.workspace(Context::kPacked, static_cast<std::size_t>(packed_size(1, depth, cols)) * sizeof(float)));
}

}  // namespace

void linear_forward(
    Context& ctx, const LinearGeom& g, const float* x, const float* w, const float* bias, float* y) {
  float* packed = packed_workspace(ctx, g.in, g.out);
  pack_panels(
      ctx, 1, g.in, g.out, [=](int, int d, int n) { return w[std::int64_t{n} * g.in + d]; }, packed);
  product(ctx, g.rows, g.in, g.out, x, packed, [=](std::int64_t at, int n, int lanes, f32x16 value) {
    if (bias) value += load_n(bias + n, lanes);
    store_n(y + at, value, lanes);
  });
}

void linear_backward_input(
    Context& ctx, const LinearGeom& g, const float* dy, const float* w, float* dx, Write write) {
  float* packed = packed_workspace(ctx, g.out, g.in);
  pack_panels(
      ctx, 1, g.out, g.in, [=](int, int d, int n) { return w[std::int64_t{d} * g.in + n]; }, packed);
  product(ctx, g.rows, g.out, g.in, dy, packed, [=](std::int64_t at, int, int lanes, f32x16 value) {
    if (write == Write::kAccumulate) value += load_n(dx + at, lanes);
    store_n(dx + at, value, lanes);
  });
}

void linear_backward_weight(
    Context& ctx, const LinearGeom& g, const float* x, const float* dy, float* dw, Write write) {
  // Threads take slices of the input columns, each over all rows: no partial sums.
  parallel_ranges(ctx, chunk_count(g.in, kTileCols), [&](std::int64_t first, std::int64_t last, int) {
    for (std::int64_t panel = first; panel < last; ++panel) {
      const std::int64_t column = panel * kTileCols;
      const int width = static_cast<int>(std::min<std::int64_t>(kTileCols, g.in - column));
      for (std::int64_t o = 0; o < g.out && write == Write::kOverwrite; ++o) {
        std::fill_n(dw + o * g.in + column, width, 0.f);
      }
      const float* rows[kOuterBlock];
      for (std::int64_t m0 = 0; m0 < g.rows; m0 += kOuterBlock) {
        const int count = static_cast<int>(std::min<std::int64_t>(kOuterBlock, g.rows - m0));
        for (int m = 0; m < count; ++m) rows[m] = x + (m0 + m) * g.in + column;
        gemm_outer_block(count, g.out, dy + m0 * g.out, g.out, 1, rows, width, dw + column, g.in);
      }
    }
  });
}

void linear_backward_bias(Context& ctx, const LinearGeom& g, const float* dy, float* db, Write write) {
  column_sums(ctx, g.rows, g.out, dy, db, write);
}

}  // namespace offramp::cpu
