#pragma once
// C = A B for any two operands that can be read in groups of four: matrices, or the views of an image that
// make a convolution a product (implicit GEMM). A block of 256 threads makes a 64 x 64 tile of C from tiles
// of 16 along the sum, each thread a 4 x 4 piece in registers; the next tiles are fetched while the current
// ones are used. Every sum runs in order, so results do not depend on the launch.
//
// An operand gives the values of `line` (a row of A, a column of B) and `k` (the place along the sum):
//   kAlongSum = true:   load(State, k, out): the values of one line at k .. k + 3
//   kAlongSum = false:  load(State, k, out): the values of lines line .. line + 3 at k
//   State start(int batch, int line): what does not change along the sum
// and zeros outside of what exists. A sink has store(int batch, int row, int column, float value).
#include "kernels/cuda/device_helpers.h"

namespace offramp::cuda {

inline constexpr int kTile = 64, kTileSum = 16, kTileThreads = 256, kTilePad = 4;

// Where the thread's four values of a tile lie.
template <class Operand>
struct TileReader {
  using State = typename Operand::State;
  static constexpr bool kAlong = Operand::kAlongSum;
  Operand operand;
  State state;
  int line, sum;  // within the tile
  float values[4];

  __device__ TileReader(const Operand& op, int batch, int first_line)
      : operand(op),
        state(),
        line(kAlong ? thread_x() / 4 : thread_x() % 16 * 4),
        sum(kAlong ? thread_x() % 4 * 4 : thread_x() / 16) {
    state = operand.start(batch, first_line + line);
  }
  __device__ void fetch(int k) { operand.load(state, k + sum, values); }
  __device__ void put(float (*tile)[kTile + kTilePad]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (kAlong) {
        tile[sum + i][line] = values[i];
      } else {
        tile[sum][line + i] = values[i];
      }
    }
  }
};

// Sum over [k_begin, k_end) of the batch: `split` consecutive places each, the last batch of a split less.
struct SumRange {
  int length = 0;      // of the whole sum
  int split_size = 0;  // of one part, a multiple of kTileSum; parts are batches
  int splits = 1;
};

template <class A, class B, class Sink>
__global__ void __launch_bounds__(kTileThreads) tile_product_kernel(SumRange range, A a, B b, Sink sink) {
  follow();
  OFFRAMP_SHARED(float, tile_a, [2][kTileSum][kTile + kTilePad]);
  OFFRAMP_SHARED(float, tile_b, [2][kTileSum][kTile + kTilePad]);
  const int batch = block_z() / range.splits, split = block_z() % range.splits;
  const int first_row = block_x() * kTile, first_column = block_y() * kTile;
  const int begin = split * range.split_size;
  const int end = begin + range.split_size < range.length ? begin + range.split_size : range.length;
  TileReader<A> read_a(a, batch, first_row);
  TileReader<B> read_b(b, batch, first_column);
  const int row = thread_x() / 16 * 4, column = thread_x() % 16 * 4;
  float sums[4][4] = {};

  int buffer = 0;
  if (begin < end) {
    read_a.fetch(begin);
    read_b.fetch(begin);
  }
  for (int k = begin; k < end; k += kTileSum) {
    read_a.put(tile_a[buffer]);
    read_b.put(tile_b[buffer]);
    __syncthreads();  // one barrier a tile: the other buffer was last read before it
    if (k + kTileSum < end) {
      read_a.fetch(k + kTileSum);
      read_b.fetch(k + kTileSum);
    }
#pragma unroll
    for (int i = 0; i < kTileSum; ++i) {
      float left[4], right[4];
      load(&tile_a[buffer][i][row], left);
      load(&tile_b[buffer][i][column], right);
#pragma unroll
      for (int y = 0; y < 4; ++y) {
#pragma unroll
        for (int x = 0; x < 4; ++x) sums[y][x] = fmaf(left[y], right[x], sums[y][x]);
      }
    }
    buffer ^= 1;
  }
#pragma unroll
  for (int y = 0; y < 4; ++y) {
#pragma unroll
    for (int x = 0; x < 4; ++x)
      sink.store(block_z(), first_row + row + y, first_column + column + x, sums[y][x]);
  }
}

// `batches` products of the same shape; with range.splits > 1 the sink gets batch * splits + split.
template <class A, class B, class Sink>
void tile_product(Context& ctx,
                  int batches,
                  std::int64_t rows,
                  int columns,
                  SumRange range,
                  const A& a,
                  const B& b,
                  const Sink& sink) {
  if (rows == 0 || columns == 0 || batches == 0) return;
  const dim3 grid(static_cast<unsigned>(ceil_div(rows, kTile)),
                  static_cast<unsigned>(ceil_div(columns, kTile)),
                  static_cast<unsigned>(batches * range.splits));
  launch(tile_product_kernel<A, B, Sink>, grid, kTileThreads, 0, ctx.stream(), range, a, b, sink);
}

inline SumRange whole_sum(int length) { return {length, ceil_div(length, kTileSum) * kTileSum, 1}; }

// ---- dense matrices

// Element
// (line, k) at data[line * stride + k].
template <class T>
struct LinesAlongSum {
  static constexpr bool kAlongSum = true;
  struct State {
    const T* line;
  };
  const T* data;
  int lines, length;
  __device__ State start(int /*batch*/, int line) const {
    return {line < lines ? data + std::int64_t{line} * length : nullptr};
  }
  __device__ void load(const State& state, int k, float (&out)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      out[i] = state.line != nullptr && k + i < length ? to_float(state.line[k + i]) : 0.f;
    }
  }
};
// Element (line, k) at data[k * lines + line].
template <class T>
struct LinesAcrossSum {
  static constexpr bool kAlongSum = false;
  struct State {
    int line;
  };
  const T* data;
  int lines, length;
  __device__ State start(int /*batch*/, int line) const { return {line}; }
  __device__ void load(const State& state, int k, float (&out)[4]) const {
    const T* values = data + std::int64_t{k} * lines + state.line;
#pragma unroll
    for (int i = 0; i < 4; ++i) out[i] = k < length && state.line + i < lines ? to_float(values[i]) : 0.f;
  }
};

}  // namespace offramp::cuda
