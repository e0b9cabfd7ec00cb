#pragma once
// Matrix products on rows given by pointers: the core of our own convolution and of the linear layer. No
// operand is copied into columns: a convolution row is one pointer per filter tap (a row of zeros where the
// tap lies outside the image), a matrix row is one pointer. Each output is one chain of fused multiply-adds
// in the order (tap, depth), so results depend neither on the thread count nor on the batch it stands in.
//   gemm_rows:   y[m, n] = sum over t, d of row(t, m)[d] * b[t, d, n]
//   gemm_outer_block:  dw[k, t, n] = sum over m of a[m, k] * row(t, m)[n]
#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "kernels/backend.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace offramp::cpu {

// Register block: 12 x 2 vectors are 24 of the 32 AVX-512 registers; 6 x 1 double
// vectors are 12 of the 16 AVX2 registers.
inline constexpr int kTileRows = OFFRAMP_SIMD == 512 ? 12 : 6;
inline constexpr int kTileVectors = OFFRAMP_SIMD == 512 ? 2 : 1;
inline constexpr int kShortTileRows = kTileRows / 3;  // of the last rows; of an image whose map is tiny
inline constexpr int kTileCols = kTileVectors * kLanes;
inline constexpr int kRowBlock = 96;   // rows of one task of gemm_rows: a multiple of both tile heights
inline constexpr int kColBlock = 512;  // columns of one task, fewer where a thread would have none
inline constexpr std::int64_t kSharedWeights = 1 << 15;  // floats of b from which on that pays
inline constexpr int kFetchAhead = 40;                   // depths
inline constexpr int kOuterBlock =
    64;  // rows summed in registers by gemm_outer before the partial is touched

// Elements of a packed b of gemm_rows: panels of kTileCols columns, each [taps][depth][kTileCols], the last
// one filled up with zeros.
inline std::int64_t packed_size(int taps, int depth, int cols) {
  return std::int64_t{taps} * depth * ((cols + kTileCols - 1) / kTileCols * kTileCols);
}

// packed <- b, with b[t, d, n] read as value(t, d, n).
template <class Value>
void pack_panels(Context& ctx, int taps, int depth, int cols, Value value, float* packed) {
  const std::int64_t panels = (cols + kTileCols - 1) / kTileCols;
  parallel_for(ctx, panels * taps, [&](std::int64_t job) {
    const int first = static_cast<int>(job / taps) * kTileCols, t = static_cast<int>(job % taps);
    float* to = packed + job * depth * kTileCols;
    const int count = std::min(kTileCols, cols - first);
    for (int d = 0; d < depth; ++d, to += kTileCols) {
      for (int n = 0; n < count; ++n) to[n] = value(t, d, first + n);
      for (int n = count; n < kTileCols; ++n) to[n] = 0;
    }
  });
}

// One register tile: acc[i][v] += sum over t, d of rows[t * kRowBlock + i][d] * b[t, d, v]. A tap for which
// every row is `zeros` is left out; the sums keep their bits. Few rows wait for b, which is fetched ahead.
template <int Rows, int Vectors>
OFFRAMP_SIMD_FN void tile_rows(int taps,
                               int depth,
                               const float* const* rows,
                               const float* zeros,
                               const float* b,
                               f32x16 (&acc)[Rows][Vectors]) {
  for (int t = 0; t < taps; ++t) {
    const float* p[Rows];
    bool any = false;
    for (int i = 0; i < Rows; ++i) {
      p[i] = rows[t * kRowBlock + i];
      any = any || p[i] != zeros;
    }
    if (!any) {
      b += std::int64_t{depth} * kTileCols;
      continue;
    }
#pragma GCC unroll 2
    for (int d = 0; d < depth; ++d) {
      f32x16 bv[Vectors];
      for (int v = 0; v < Vectors; ++v) {
        bv[v] = load(b + v * kLanes);
        if constexpr (Rows < kTileRows) __builtin_prefetch(b + kFetchAhead * kTileCols + v * kLanes);
      }
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        const f32x16 a = splat(p[i][d]);
        for (int v = 0; v < Vectors; ++v) acc[i][v] = fma(a, bv[v], acc[i][v]);
      }
      b += kTileCols;
    }
  }
}

template <int Rows, int Vectors, class Store>
OFFRAMP_SIMD_FN void tile_rows_to(int taps,
                                  int depth,
                                  const float* const* rows,
                                  const float* zeros,
                                  const float* b,
                                  int valid_rows,
                                  int col,
                                  int cols,
                                  const std::int64_t* out,
                                  Store& store_vector) {
  f32x16 acc[Rows][Vectors];
  for (int i = 0; i < Rows; ++i) {
    for (int v = 0; v < Vectors; ++v) acc[i][v] = zero();
  }
  tile_rows<Rows, Vectors>(taps, depth, rows, zeros, b, acc);
  for (int i = 0; i < valid_rows; ++i) {
    for (int v = 0; v < Vectors; ++v) {
      const int n = col + v * kLanes;
      if (n < cols) store_vector(out[i] + n, n, lanes_left(cols - n), acc[i][v]);
    }
  }
}

struct RowBlock {
  const float** rows;  // [taps][kRowBlock]
  std::int64_t* out;   // [kRowBlock]: where row m begins in the output
};

// Columns of one task of gemm_rows.
inline int columns_of_task(int threads, std::int64_t row_blocks, std::int64_t weights, int cols) {
  if (row_blocks * chunk_count(cols, kColBlock) >= threads || weights < kSharedWeights) return kColBlock;
  const std::int64_t shares = chunk_count(threads, row_blocks);
  return static_cast<int>(chunk_count(chunk_count(cols, shares), kTileCols)) * kTileCols;
}

// Rows m of 0 .. rows - 1: fill(begin, end, block) sets the pointers and output offsets of a block of rows;
// store(offset, n, lanes, value) takes each vector of results; `zeros` is the row that stands for "outside",
// or null. Scratch: kStage.
template <class Fill, class Store>
void gemm_rows(Context& ctx,
               std::int64_t rows,
               int taps,
               int depth,
               int cols,
               const float* packed,
               const float* zeros,
               Fill fill,
               Store store_vector) {
  if (rows == 0 || cols == 0) return;
  const std::int64_t row_blocks = chunk_count(rows, kRowBlock);
  const int col_block = columns_of_task(ctx.threads(), row_blocks, std::int64_t{taps} * depth * cols, cols);
  const std::int64_t col_blocks = chunk_count(cols, col_block);
  const std::size_t table = static_cast<std::size_t>(taps + 1) * kRowBlock;
  static_assert(sizeof(const float*) == sizeof(std::int64_t));
  auto* tables = static_cast<std::int64_t*>(
      ctx.workspace(Context::kStage, table * sizeof(std::int64_t) * static_cast<std::size_t>(ctx.threads())));
  parallel_ranges(
      ctx, row_blocks * col_blocks, [&](std::int64_t job_begin, std::int64_t job_end, int thread) {
        std::int64_t* mine = tables + static_cast<std::size_t>(thread) * table;
        const RowBlock block{reinterpret_cast<const float**>(mine + kRowBlock), mine};
        std::int64_t filled = -1;
        for (std::int64_t job = job_begin; job < job_end; ++job) {
          const std::int64_t m0 = job / col_blocks * kRowBlock, m1 = std::min(rows, m0 + kRowBlock);
          if (m0 != filled) {
            fill(m0, m1, block);
            // Rows behind the end repeat the last one; their results are not stored.
            const auto count = static_cast<int>(m1 - m0);
            for (int t = 0; t < taps && count % kTileRows != 0; ++t) {
              for (int i = count; i < (count + kTileRows - 1) / kTileRows * kTileRows; ++i) {
                block.rows[t * kRowBlock + i] = block.rows[t * kRowBlock + count - 1];
              }
            }
            filled = m0;
          }
          const int n0 = static_cast<int>(job % col_blocks) * col_block, n1 = std::min(cols, n0 + col_block);
          for (int n = n0; n < n1; n += kTileCols) {
            const float* panel = packed + std::int64_t{n} * taps * depth;
            for (std::int64_t m = m0; m < m1; m += kTileRows) {
              const auto i = static_cast<std::size_t>(m - m0);
              const int valid = static_cast<int>(std::min<std::int64_t>(kTileRows, m1 - m));
              const auto tile = [&](auto height, auto vectors) {
                tile_rows_to<height(), vectors()>(
                    taps, depth, block.rows + i, zeros, panel, valid, n, n1, block.out + i, store_vector);
              };
              const auto rows_of = [&](auto vectors) {
                if (valid <= kShortTileRows) {
                  tile(std::integral_constant<int, kShortTileRows>{}, vectors);
                } else {
                  tile(std::integral_constant<int, kTileRows>{}, vectors);
                }
              };
              if (n1 - n > kLanes) {
                rows_of(std::integral_constant<int, kTileVectors>{});
              } else {
                rows_of(std::integral_constant<int, 1>{});
              }
            }
          }
        }
      });
}

// dw[i * step + n] += sum over m of a[m * stride + i] * rows[m][n] for i < Rows, n < cols <= Vectors * 16.
template <int Rows, int Vectors>
void tile_outer(int count,
                const float* a,
                std::int64_t stride,
                const float* const* rows,
                std::int64_t first,
                int cols,
                float* dw,
                std::int64_t step) {
  f32x16 acc[Rows][Vectors];
  int lanes[Vectors];
  for (int v = 0; v < Vectors; ++v) lanes[v] = lanes_left(cols - v * kLanes);
  const bool full = cols == Vectors * kLanes;
  for (int i = 0; i < Rows; ++i) {
    for (int v = 0; v < Vectors; ++v) {
      const float* from = dw + i * step + v * kLanes;
      acc[i][v] = full ? load(from) : load_n(from, lanes[v]);
    }
  }
  const auto sum_up = [&](auto load_row) {
    for (int m = 0; m < count; ++m, a += stride) {
      f32x16 x[Vectors];
      for (int v = 0; v < Vectors; ++v) x[v] = load_row(rows[m] + first, v);
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        const f32x16 s = splat(a[i]);
        for (int v = 0; v < Vectors; ++v) acc[i][v] = fma(s, x[v], acc[i][v]);
      }
    }
  };
  if (full) {
    sum_up([&](const float* row, int v) { return load(row + v * kLanes); });
  } else {
    sum_up([&](const float* row, int v) { return load_n(row + v * kLanes, lanes[v]); });
  }
  for (int i = 0; i < Rows; ++i) {
    for (int v = 0; v < Vectors; ++v) {
      float* to = dw + i * step + v * kLanes;
      if (full) {
        store(to, acc[i][v]);
      } else {
        store_n(to, acc[i][v], lanes[v]);
      }
    }
  }
}

using TileOuter =
    void (*)(int, const float*, std::int64_t, const float* const*, std::int64_t, int, float*, std::int64_t);
template <int Vectors, std::size_t... Rows>
constexpr std::array<TileOuter, sizeof...(Rows)> tile_outer_table(std::index_sequence<Rows...>) {
  return {&tile_outer<static_cast<int>(Rows) + 1, Vectors>...};
}

// Adds to dw[i * step + t * cols + n] the products a[m * stride + i] * rows[t * kOuterBlock + m][n] of
// `count` <= kOuterBlock rows, for i < k, t < taps, n < cols.
inline void gemm_outer_block(int count,
                             int k,
                             const float* a,
                             std::int64_t stride,
                             int taps,
                             const float* const* rows,
                             int cols,
                             float* dw,
                             std::int64_t step) {
  static constexpr auto kWide = tile_outer_table<kTileVectors>(std::make_index_sequence<kTileRows>());
  static constexpr auto kNarrow = tile_outer_table<1>(std::make_index_sequence<kTileRows>());
  for (int t = 0; t < taps; ++t) {
    for (int n = 0; n < cols; n += kTileCols) {
      const int width = std::min(kTileCols, cols - n);
      const auto& table = width > kLanes ? kWide : kNarrow;
      for (int i = 0; i < k; i += kTileRows) {
        const int height = std::min(kTileRows, k - i);
        table[static_cast<std::size_t>(height - 1)](count,
                                                    a + i,
                                                    stride,
                                                    rows + t * kOuterBlock,
                                                    n,
                                                    width,
                                                    dw + i * step + std::int64_t{t} * cols + n,
                                                    step);
      }
    }
  }
}

// out (= or +=) the sum of `parts` partials of `size` floats each, in their order.
void sum_partials(
    const Context& ctx, int parts, std::int64_t size, const float* partials, float* out, Write write);

// db[n] (= or +=) sum over rows of dy[row, n]: fixed chunks of rows in float, chunks added in double.
// Scratch: kPartials.
template <class T>
void column_sums(Context& ctx, std::int64_t rows, int cols, const T* dy, float* db, Write write);

}  // namespace offramp::cpu
