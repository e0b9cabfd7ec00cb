// The linear layer: every output is one sum in an order of its own, so a row's result does not depend on the
// batch. oneDNN's product is not used: its order changes with the number of rows. Few outputs (the classes of an
// exit) are scalar products of rows as they lie in memory, 16 lanes wide; many are products of gemm.h, for which
// the weights are packed.
#include "kernels/linear.h"

#include <array>
#include <utility>

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

// Register block: 2 x 10 sums in 32 AVX-512 registers, 1 x 5 pairs in 16 AVX2 registers.
constexpr int kDotRows = OFFRAMP_SIMD == 512 ? 2 : 1, kDotOutputs = OFFRAMP_SIMD == 512 ? 10 : 5;

// y[i * y_step + n] = sum over d of x[i * depth + d] * w[n * depth + d] + bias[n] for i < Rows, n < Outputs.
template <int Rows, int Outputs>
void dot_block(int depth, const float* x, const float* w, const float* bias, float* y, std::int64_t y_step) {
  f32x16 acc[Rows][Outputs];
  for (auto& row : acc) {
    for (f32x16& a : row) a = zero();
  }
  const auto add = [&](auto load_lanes) {
    f32x16 xv[Rows];
    for (int i = 0; i < Rows; ++i) xv[i] = load_lanes(x + std::int64_t{i} * depth);
#pragma GCC unroll 16
    for (int n = 0; n < Outputs; ++n) {
      const f32x16 wv = load_lanes(w + std::int64_t{n} * depth);
      for (int i = 0; i < Rows; ++i) acc[i][n] = fma(xv[i], wv, acc[i][n]);
    }
  };
  int d = 0;
  for (; d + kLanes <= depth; d += kLanes) add([=](const float* p) { return load(p + d); });
  if (d < depth) add([=](const float* p) { return load_n(p + d, depth - d); });
  for (int i = 0; i < Rows; ++i) {
    for (int n = 0; n < Outputs; ++n) y[i * y_step + n] = sum(acc[i][n]) + (bias ? bias[n] : 0.f);
  }
}

using DotBlock = void (*)(int, const float*, const float*, const float*, float*, std::int64_t);
template <int Rows, std::size_t... Outputs>
constexpr std::array<DotBlock, sizeof...(Outputs)> dot_blocks(std::index_sequence<Outputs...>) {
  return {&dot_block<Rows, static_cast<int>(Outputs) + 1>...};
}

void few_outputs(
    Context& ctx, const LinearGeom& g, const float* x, const float* w, const float* bias, float* y) {
  static constexpr auto kPair = dot_blocks<kDotRows>(std::make_index_sequence<kDotOutputs>());
  static constexpr auto kOne = dot_blocks<1>(std::make_index_sequence<kDotOutputs>());
  for_chunks(ctx, g.rows, kDotRows, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    const auto& blocks = end - begin == kDotRows ? kPair : kOne;
    for (int n = 0; n < g.out; n += kDotOutputs) {
      const auto count = static_cast<std::size_t>(std::min(kDotOutputs, g.out - n));
      blocks[count - 1](g.in,
                        x + begin * g.in,
                        w + std::int64_t{n} * g.in,
                        bias ? bias + n : nullptr,
                        y + begin * g.out + n,
                        g.out);
    }
  });
}

}  // namespace

void linear_forward(
    Context& ctx, const LinearGeom& g, const float* x, const float* w, const float* bias, float* y) {
  if (g.out <= kUnpackedOutputs) {
    few_outputs(ctx, g, x, w, bias, y);
    return;
  }
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
