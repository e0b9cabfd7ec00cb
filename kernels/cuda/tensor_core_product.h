#pragma once
// tile_product.h on tensor cores: C = A B of bf16 with sums in float. A block makes 128 x kColumns of C from
// tiles of 32 along the sum; each warp 32 rows of it. Three tiles are on their way at a time. Where there are
// few blocks the sum is cut into parts, which the last block of a tile adds in order. Every sum runs in an
// order that the shape alone decides.
//
// Addresses are stepped, not computed: a thread copies the same chunks (eight values, 16 bytes) of every tile,
// and a cursor goes from one tile to the next. A problem says what its matrices are:
//   static constexpr bool kAAlong, kBAlong    whether a chunk lies along the sum (else along the lines)
//   static constexpr bool kTaps               whether the sum runs over taps of a filter: then a table says
//                                             where each lies (taps, tap)
//   Phase phase(int block): the block's first row and the length of its sum; rows may belong to phases
//   A<kEach, kStep>, B<kEach, kStep>: cursors, made from (problem, phase, table, line, k); the thread's chunk i
//     is kStep lines (along) or kStep places of the sum (across) behind the first. chunk(problem, i), and
//     next(problem, table): 32 places on. Chunk::from need be no address where `exists` is false.
//   Line line(phase, row), store(Line, column, float, float): two neighbouring columns of the result
//   static constexpr bool kMoments            whether `ChannelMoments moments` wants the result's columns
//                                             (core_moments.h), a bias included; one phase then
#include <type_traits>

#include "kernels/cuda/core_moments.h"
#include "kernels/cuda/last_block.h"
#include "kernels/cuda/tensor_core.h"
#include "kernels/cuda/tile_product.h"

namespace offramp::cuda {

inline constexpr int kCoreSum = 32, kCoreStages = 3;
inline constexpr int kCoreTaps =
    32;  // of the table; the last tile may run up to three taps past the filter's

struct Chunk {
  const bf16* from;
  bool exists;
};

struct CoreLine {
  std::int64_t at;
  bool exists;
};

// What a tap adds to the place of a value in A and in B.
struct CoreTap {
  int a, b;
};

// A tile in shared memory: lines x kCoreSum (along the sum) or kCoreSum x lines, in rows of chunks. Within
// its row a chunk is moved so that the eight rows of a piece lie in different banks.
template <bool kAlong, int kLines>
struct CoreTile {
  static constexpr int kChunks = kAlong ? kCoreSum / 8 : kLines / 8;  // of a row: 2, 4, 8 or 16
  static constexpr int kRows = kAlong ? kLines : kCoreSum;
  static constexpr int kSize = kLines * kCoreSum;
  OFFRAMP_HD static constexpr int place(int row, int chunk) {
    constexpr int kShared = kChunks < 8 ? 8 / kChunks : 1;  // rows that share 128 bytes
    constexpr int kMoves = kChunks < 8 ? kChunks : 8;
    return (row * kChunks + (chunk ^ (row / kShared % kMoves))) * 8;
  }
};

// What a thread copies of each tile: chunk i lies kRowStep rows behind the first, moved by as much.
template <bool kAlong, int kLines, int kThreads>
struct CoreShare {
  using Tile = CoreTile<kAlong, kLines>;
  static constexpr int kAll = Tile::kRows * Tile::kChunks;
  static constexpr int kEach = (kAll + kThreads - 1) / kThreads;
  static constexpr int kRowStep = kThreads / Tile::kChunks;
  static_assert(kThreads % Tile::kChunks == 0 && Tile::place(kRowStep, 0) == kRowStep * Tile::kChunks * 8);
  // Whether the thread has a chunk i; known to the compiler where all have.
  __device__ static bool has(int i) { return kAll % kThreads == 0 || thread_x() + i * kThreads < kAll; }
  __device__ static int row() { return thread_x() / Tile::kChunks; }
  __device__ static int chunk() { return thread_x() % Tile::kChunks; }
};

// Where a warp's pieces lie in a tile: of lines first + i * 16 and places k of the sum, k = 0 or 16. One of the
// two steps moves chunks about and is looked up, the other is a constant.
template <bool kAlong, int kLines, int kPieces>
struct CorePieces {
  using Tile = CoreTile<kAlong, kLines>;
  int places[kAlong ? kCoreSum / 16 : kPieces];
  // line and along: of the row of a piece that this lane points to.
  __device__ CorePieces(int first, int line, int along) {
#pragma unroll
    for (int i = 0; i < (kAlong ? kCoreSum / 16 : kPieces); ++i) {
      places[i] = kAlong ? Tile::place(first + line, (i * 16 + along) / 8)
                         : Tile::place(along, (first + i * 16 + line) / 8);
    }
  }
  __device__ int place(int i, int k) const {
    return kAlong ? places[k / 16] + i * 16 * kCoreSum : places[i] + k * kLines;
  }
};

template <class Problem, int kColumns>
__global__ void __launch_bounds__(core_threads(kColumns))
    tensor_core_product_kernel(Problem problem, int splits, float* parts, unsigned* arrived) {
  follow();
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  constexpr int kThreads = core_threads(kColumns), kWarpColumns = kThreads > 128 ? kColumns / 2 : kColumns;
  constexpr int kPairs = kWarpColumns / 16;  // of pieces of C, eight columns each
  constexpr bool kAAlong = Problem::kAAlong, kBAlong = Problem::kBAlong;
  using ShareA = CoreShare<kAAlong, kCoreRows, kThreads>;
  using ShareB = CoreShare<kBAlong, kColumns, kThreads>;
  constexpr int kSizeA = ShareA::Tile::kSize, kStage = kSizeA + ShareB::Tile::kSize;
  OFFRAMP_DYN_SHARED(bf16, shared);  // stages: A's tile, B's tile
  OFFRAMP_SHARED(CoreTap, table, [Problem::kTaps ? kCoreTaps : 1]);
  const auto phase = problem.phase(block_x());
  if constexpr (Problem::kTaps) {
    if (thread_x() < kCoreTaps) {
      table[thread_x()] = thread_x() < problem.taps(phase) ? problem.tap(phase, thread_x()) : CoreTap{0, 0};
    }
    __syncthreads();
  }
  const int all_tiles = (phase.length + kCoreSum - 1) / kCoreSum, each = (all_tiles + splits - 1) / splits;
  const int first_tile = block_z() * each, rest = all_tiles - first_tile;
  const int tiles = rest < each ? rest : each;  // none, or less, in a part behind the end
  const int first_column = block_y() * kColumns;

  const int begin = first_tile * kCoreSum;
  typename Problem::template A<ShareA::kEach, ShareA::kRowStep> a(
      problem,
      phase,
      table,
      phase.first_row + (kAAlong ? ShareA::row() : ShareA::chunk() * 8),
      begin + (kAAlong ? ShareA::chunk() * 8 : ShareA::row()));
  typename Problem::template B<ShareB::kEach, ShareB::kRowStep> b(
      problem,
      phase,
      table,
      first_column + (kBAlong ? ShareB::row() : ShareB::chunk() * 8),
      begin + (kBAlong ? ShareB::chunk() * 8 : ShareB::row()));
  bf16* const to_a = shared + ShareA::Tile::place(ShareA::row(), ShareA::chunk());
  bf16* const to_b = shared + kSizeA + ShareB::Tile::place(ShareB::row(), ShareB::chunk());
  const auto fetch = [&](int stage) {
#pragma unroll
    for (int i = 0; i < ShareA::kEach; ++i) {
      const Chunk c = a.chunk(problem, i);
      if (ShareA::has(i)) {
        copy_16_async(to_a + stage + i * ShareA::kRowStep * ShareA::Tile::kChunks * 8, c.from, c.exists);
      }
    }
    a.next(problem, table);
#pragma unroll
    for (int i = 0; i < ShareB::kEach; ++i) {
      const Chunk c = b.chunk(problem, i);
      if (ShareB::has(i)) {
        copy_16_async(to_b + stage + i * ShareB::kRowStep * ShareB::Tile::kChunks * 8, c.from, c.exists);
      }
    }
    b.next(problem, table);
  };

  // Rows and columns of the piece whose row this lane points to: the four pieces are a square of two by two.
  const int warp = thread_x() / 32, lane = thread_x() % 32, piece = lane / 8, line = lane % 8;
  const int row = warp % 4 * 32, column = warp / 4 * kWarpColumns;  // of the warp, within the tile
  const CorePieces<kAAlong, kCoreRows, 2> pieces_a(
      row, piece % 2 * 8 + (kAAlong ? line : 0), piece / 2 * 8 + (kAAlong ? 0 : line));
  const CorePieces<kBAlong, kColumns, kPairs> pieces_b(
      column, piece / 2 * 8 + (kBAlong ? line : 0), piece % 2 * 8 + (kBAlong ? 0 : line));
  float sums[2][2 * kPairs][4] = {};

#pragma unroll
  for (int tile = 0; tile < kCoreStages - 1; ++tile) {
    if (tile < tiles) fetch(tile * kStage);
    close_copies();
  }
  int read = 0, write = (kCoreStages - 1) * kStage;
#pragma unroll 1
  for (int tile = 0; tile < tiles; ++tile) {
    wait_for_copies<kCoreStages - 2>();
    __syncthreads();  // the tile is there for all, and the one before it has been read by all
    if (tile + kCoreStages - 1 < tiles) fetch(write);
    close_copies();
    const bf16* const tile_a = shared + read;
    const bf16* const tile_b = tile_a + kSizeA;
#pragma unroll
    for (int k = 0; k < kCoreSum; k += 16) {
      unsigned left[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) load_pieces<!kAAlong>(left[i], tile_a + pieces_a.place(i, k));
#pragma unroll
      for (int pair = 0; pair < kPairs; ++pair) {
        unsigned right[4];
        load_pieces<!kBAlong>(right, tile_b + pieces_b.place(pair, k));
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          multiply_pieces(sums[i][2 * pair], left[i], right[0], right[1]);
          multiply_pieces(sums[i][2 * pair + 1], left[i], right[2], right[3]);
        }
      }
    }
    read = read == (kCoreStages - 1) * kStage ? 0 : read + kStage;
    write = write == (kCoreStages - 1) * kStage ? 0 : write + kStage;
  }

  if (splits > 1) {  // each thread leaves its sums where the same thread of the last block finds them
    const int block = block_x() + block_y() * static_cast<int>(gridDim.x);
    const auto blocks = static_cast<std::int64_t>(gridDim.x * gridDim.y);
    constexpr int kValues = 2 * 2 * kPairs;
    float* const mine = parts + (std::int64_t{block} * kValues * kThreads + thread_x()) * 4;
    const std::int64_t part = blocks * kValues * kThreads * 4;
#pragma unroll
    for (int v = 0; v < kValues; ++v) {
      store(mine + block_z() * part + std::int64_t{v} * kThreads * 4,
            sums[v / (2 * kPairs)][v % (2 * kPairs)],
            false);
    }
    if (!last_block(arrived + block, static_cast<unsigned>(splits))) return;
#pragma unroll
    for (int v = 0; v < kValues; ++v)
      load(mine + std::int64_t{v} * kThreads * 4, sums[v / (2 * kPairs)][v % (2 * kPairs)]);
    for (int split = 1; split < splits; ++split) {
#pragma unroll
      for (int v = 0; v < kValues; ++v) {
        float more[4];
        load(mine + split * part + std::int64_t{v} * kThreads * 4, more);
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[v / (2 * kPairs)][v % (2 * kPairs)][j] += more[j];
      }
    }
  }
  if constexpr (Problem::kMoments) {
    if (problem.bias != nullptr) {
#pragma unroll
      for (int v = 0; v < 4 * kPairs; ++v) {
        const int c = first_column + column + v / 2 * 8 + lane % 4 * 2 + v % 2;
        const float bias = c < problem.moments.g.channels ? problem.bias[c] : 0.f;
#pragma unroll
        for (int r = 0; r < 4; ++r) sums[r / 2][v / 2][r % 2 * 2 + v % 2] += bias;
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const CoreLine to = problem.line(phase, phase.first_row + row + i * 16 + half * 8 + lane / 4);
      if (!to.exists) continue;
#pragma unroll
      for (int j = 0; j < 2 * kPairs; ++j) {
        problem.store(
            to, first_column + column + j * 8 + lane % 4 * 2, sums[i][j][2 * half], sums[i][j][2 * half + 1]);
      }
    }
  }
  if constexpr (Problem::kMoments) {
    unsigned* const counters =
        arrived + (splits > 1 ? gridDim.x * gridDim.y : 0u) + block_y() * problem.moments.counters();
    core_moments<kColumns>(problem.moments, sums, counters, shared);
  }
#endif
}

// The parts that a sum is cut into, so that about `blocks` blocks have work; a part is at least `shortest`
// long. By the shape alone.
inline int core_splits(int length, std::int64_t tiles, int blocks, int shortest) {
  const int most = length / shortest > 1 ? length / shortest : 1;
  const auto wanted = static_cast<int>(tiles < blocks ? blocks / (tiles > 0 ? tiles : 1) : 1);
  return wanted < most ? wanted : most;
}

// The narrowest tile that holds all columns, at most 128; 64 where 128 leaves less than two blocks for each
// of the 132 multiprocessors of an H200.
inline int core_columns(std::int64_t row_tiles, int columns) {
  if (columns <= 16) return 16;
  if (columns <= 32) return 32;
  if (columns <= 64) return 64;
  return row_tiles * ceil_div(columns, 128) < 2 * 132 ? 64 : 128;
}

// `row_tiles`: of all phases. `blocks`: how many are enough (core_splits).
template <class Problem>
void tensor_core_product(Context& ctx,
                         std::int64_t row_tiles,
                         int columns,
                         int length,
                         int blocks,
                         int shortest,
                         const Problem& problem) {
  const auto run = [&](auto width) {
    constexpr int kColumns = decltype(width)::value;
    const int column_tiles = ceil_div(columns, kColumns);
    const std::int64_t tiles = row_tiles * column_tiles;
    const int splits = core_splits(length, tiles, blocks, shortest);
    float* parts = nullptr;
    std::int64_t counters = splits > 1 ? tiles : 0;
    if constexpr (Problem::kMoments) counters += std::int64_t{column_tiles} * problem.moments.counters();
    unsigned* const arrived = counters > 0 ? ctx.arrivals(static_cast<std::size_t>(counters)) : nullptr;
    if (splits > 1) {
      parts = static_cast<float*>(
          ctx.workspace(Context::kPartials,
                        static_cast<std::size_t>(splits * tiles) * kCoreRows * kColumns * sizeof(float)));
    }
    launch(tensor_core_product_kernel<Problem, kColumns>,
           dim3(static_cast<unsigned>(row_tiles),
                static_cast<unsigned>(column_tiles),
                static_cast<unsigned>(splits)),
           core_threads(kColumns),
           std::size_t{kCoreStages} * (kCoreRows + kColumns) * kCoreSum * sizeof(bf16),
           ctx.stream(),
           problem,
           splits,
           parts,
           arrived);
  };
  switch (core_columns(row_tiles, columns)) {
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
