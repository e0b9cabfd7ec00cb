#pragma once
// tile_product.h on tensor cores: C = A B of bf16 with sums in float, for operands that give their values in
// chunks of eight (16 bytes, aligned). A block makes 128 x kColumns of C from tiles of 32 along the sum; each
// warp 32 rows of it. Three tiles are on their way at a time. Every sum runs in order, so results do not
// depend on the launch.
//
// An operand has
//   kAlongSum = true:   chunk(State, k): the values of one line at k .. k + 7
//   kAlongSum = false:  chunk(State, k): the values of lines line .. line + 7 at k
//   State start(int line): what does not change along the sum
// with k and line multiples of eight where they run along the chunk; Chunk::exists is false where there is
// nothing (zeros), `from` is a readable address also then. A sink has store(int split, int row, int column,
// float, float) for two neighbouring columns.
#include <type_traits>

#include "kernels/cuda/tensor_core.h"
#include "kernels/cuda/tile_product.h"

namespace offramp::cuda {

inline constexpr int kCoreRows = 128, kCoreSum = 32, kCoreStages = 3;
constexpr int core_threads(int columns) { return columns > 64 ? 256 : 128; }

struct Chunk {
  const bf16* from;
  bool exists;
};

// A tile in shared memory: lines x kCoreSum (along the sum) or kCoreSum x lines, in rows of chunks. Within
// its row a chunk is moved so that the eight rows of a piece lie in different banks.
template <bool kAlong, int kLines>
struct CoreTile {
  static constexpr int kChunks = kAlong ? kCoreSum / 8 : kLines / 8;  // of a row: 2, 4, 8 or 16
  static constexpr int kRows = kAlong ? kLines : kCoreSum;
  static constexpr int kSize = kLines * kCoreSum;
  __device__ static int place(int row, int chunk) {
    constexpr int kShared = kChunks < 8 ? 8 / kChunks : 1;  // rows that share 128 bytes
    constexpr int kMoves = kChunks < 8 ? kChunks : 8;
    return (row * kChunks + (chunk ^ (row / kShared % kMoves))) * 8;
  }
};

// What a thread copies of each tile.
template <class Operand, int kLines, int kThreads>
struct CoreReader {
  static constexpr bool kAlong = Operand::kAlongSum;
  using Tile = CoreTile<kAlong, kLines>;
  static constexpr int kAll = Tile::kRows * Tile::kChunks;
  static constexpr int kEach = (kAll + kThreads - 1) / kThreads;
  Operand operand;
  typename Operand::State states[kAlong ? kEach : 1];

  __device__ CoreReader(const Operand& op, int first_line) : operand(op) {
    if constexpr (kAlong) {
#pragma unroll
      for (int i = 0; i < kEach; ++i)
        states[i] = op.start(first_line + (thread_x() + i * kThreads) / Tile::kChunks);
    } else {  // kThreads is a multiple of the chunks of a row: a thread's chunk is the same in all its rows
      states[0] = op.start(first_line + thread_x() % Tile::kChunks * 8);
    }
  }
  __device__ void fetch(bf16* tile, int k, int end) const {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int index = thread_x() + i * kThreads, row = index / Tile::kChunks, chunk = index % Tile::kChunks;
      if (kAll % kThreads != 0 && index >= kAll) return;
      const int at = k + (kAlong ? chunk * 8 : row);
      const Chunk c = operand.chunk(states[kAlong ? i : 0], at);
      copy_16_async(tile + Tile::place(row, chunk), c.from, c.exists && at < end);
    }
  }
};

template <class A, class B, class Sink, int kColumns>
__global__ void __launch_bounds__(core_threads(kColumns))
    tensor_core_product_kernel(SumRange range, A a, B b, Sink sink) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  constexpr int kThreads = core_threads(kColumns), kWarpColumns = kThreads > 128 ? kColumns / 2 : kColumns;
  constexpr int kPairs = kWarpColumns / 16;  // of pieces of C, eight columns each
  using TileA = CoreTile<A::kAlongSum, kCoreRows>;
  using TileB = CoreTile<B::kAlongSum, kColumns>;
  OFFRAMP_DYN_SHARED(bf16, shared);  // stages of A's tiles, then of B's
  const auto tile_a_of = [&](int tile) { return shared + tile % kCoreStages * TileA::kSize; };
  const auto tile_b_of = [&](int tile) {
    return shared + kCoreStages * TileA::kSize + tile % kCoreStages * TileB::kSize;
  };
  const int split = block_z();
  const int begin = split * range.split_size;
  const int end = begin + range.split_size < range.length ? begin + range.split_size : range.length;
  const int tiles = end > begin ? (end - begin + kCoreSum - 1) / kCoreSum : 0;
  const int first_row = block_x() * kCoreRows, first_column = block_y() * kColumns;
  const CoreReader<A, kCoreRows, kThreads> read_a(a, first_row);
  const CoreReader<B, kColumns, kThreads> read_b(b, first_column);
  const int warp = thread_x() / 32, lane = thread_x() % 32;
  const int row = warp % 4 * 32, column = warp / 4 * kWarpColumns;  // of the warp, within the tile
  float sums[2][2 * kPairs][4] = {};

  const auto fetch = [&](int tile) {
    if (tile < tiles) {
      read_a.fetch(tile_a_of(tile), begin + tile * kCoreSum, end);
      read_b.fetch(tile_b_of(tile), begin + tile * kCoreSum, end);
    }
    close_copies();
  };
#pragma unroll
  for (int tile = 0; tile < kCoreStages - 1; ++tile) fetch(tile);
  for (int tile = 0; tile < tiles; ++tile) {
    wait_for_copies<kCoreStages - 2>();
    __syncthreads();  // the tile is there for all, and the one before it has been read by all
    fetch(tile + kCoreStages - 1);
    const bf16* tile_a = tile_a_of(tile);
    const bf16* tile_b = tile_b_of(tile);
    // Rows and columns of the piece whose row this lane points to: the four pieces are a square of two by
    // two.
    const int piece = lane / 8, line = lane % 8;
#pragma unroll
    for (int k = 0; k < kCoreSum; k += 16) {
      unsigned left[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int top = row + i * 16 + piece % 2 * 8, along = k + piece / 2 * 8;
        if constexpr (A::kAlongSum) {
          load_pieces<false>(left[i], tile_a + TileA::place(top + line, along / 8));
        } else {
          load_pieces<true>(left[i], tile_a + TileA::place(along + line, top / 8));
        }
      }
#pragma unroll
      for (int pair = 0; pair < kPairs; ++pair) {
        const int side = column + pair * 16 + piece / 2 * 8, along = k + piece % 2 * 8;
        unsigned right[4];
        if constexpr (B::kAlongSum) {
          load_pieces<false>(right, tile_b + TileB::place(side + line, along / 8));
        } else {
          load_pieces<true>(right, tile_b + TileB::place(along + line, side / 8));
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          multiply_pieces(sums[i][2 * pair], left[i], right[0], right[1]);
          multiply_pieces(sums[i][2 * pair + 1], left[i], right[2], right[3]);
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 2 * kPairs; ++j) {
      const int y = first_row + row + i * 16 + lane / 4, x = first_column + column + j * 8 + lane % 4 * 2;
      sink.store(split, y, x, sums[i][j][0], sums[i][j][1]);
      sink.store(split, y + 8, x, sums[i][j][2], sums[i][j][3]);
    }
  }
#endif
}

// Tiles of a product, and the parts that its sum is cut into, so that about `blocks` blocks have work; a part
// is at least `shortest` long. By the shape alone.
inline SumRange core_sum(int length, std::int64_t tiles, int blocks, int shortest) {
  const int most = length / shortest > 1 ? length / shortest : 1;
  const auto wanted = static_cast<int>(tiles < blocks ? blocks / (tiles > 0 ? tiles : 1) : 1);
  const int parts = wanted < most ? wanted : most;
  const int size = ceil_div(ceil_div(length, parts), kCoreSum) * kCoreSum;
  return {length, size, ceil_div(length, size)};
}

// The narrowest tile that holds all columns, at most 128; 64 where 128 leaves less than two blocks for each
// of the 132 multiprocessors of an H200.
inline int core_columns(std::int64_t rows, int columns) {
  if (columns <= 16) return 16;
  if (columns <= 32) return 32;
  if (columns <= 64) return 64;
  return ceil_div(rows, kCoreRows) * ceil_div(columns, 128) < 2 * 132 ? 64 : 128;
}

template <class A, class B, class Sink>
void tensor_core_product(
    Context& ctx, std::int64_t rows, int columns, SumRange range, const A& a, const B& b, const Sink& sink) {
  const auto run = [&](auto width) {
    constexpr int kColumns = decltype(width)::value;
    const dim3 grid(static_cast<unsigned>(ceil_div(rows, kCoreRows)),
                    static_cast<unsigned>(ceil_div(columns, kColumns)),
                    static_cast<unsigned>(range.splits));
    launch(tensor_core_product_kernel<A, B, Sink, kColumns>,
           grid,
           core_threads(kColumns),
           std::size_t{kCoreStages} * (kCoreRows + kColumns) * kCoreSum * sizeof(bf16),
           ctx.stream(),
           range,
           a,
           b,
           sink);
  };
  switch (core_columns(rows, columns)) {
    case 16:
      return run(std::integral_constant<int, 16>());
    case 32:
      return run(std::integral_constant<int, 32>());
    case 64:
      return run(std::integral_constant<int, 64>());
    default:
      return run(std::integral_constant<int, 128>());
  }
}

}  // namespace offramp::cuda
