// A 4x4 tile of the output is A^T [ (G w G^T) * (B^T x B) ] A with the 6x6 tile x under it; the products of
// all tiles are 36 matrix products, one for each place of the 6x6 tile. A block of tiles goes through
// transformation, products and back while it is in the second-level cache. The weight gradient is the
// transposed identity: with the same points, dw = C^T [ sum over tiles of (H dy H^T) * (B^T x B) ] C for 4x4
// tiles of dy. Points 0, 1, -1, 2, -2 and infinity; the matrices stand in conv2d_winograd_tiles.h.
// Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR 2016; docs/guide/winograd.md
// derives it.
#include "kernels/cpu/conv2d_winograd.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "kernels/cpu/conv2d_winograd_tiles.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/shards.h"

namespace offramp::cpu::winograd {
namespace {

constexpr int kTaps = kFilter * kFilter;

// u[place] = packed panels of G w G^T for inputs d and outputs n, weight (t, d, n) by value(). taps: space for
// packed_size(9, depth, cols).
template <class Value>
void transform_weights(Context& ctx, int depth, int cols, Value value, float* taps, float* u) {
  const std::int64_t place_size = packed_size(1, depth, cols);
  pack_panels(ctx, kTaps, depth, cols, value, taps);
  const std::int64_t panels = place_size / (std::int64_t{depth} * kTileCols);
  parallel_for(ctx, panels * depth, [&](std::int64_t job) {
    const std::int64_t panel = job / depth, d = job % depth;
    const float* from = taps + (panel * kTaps * depth + d) * kTileCols;
    float* to = u + (panel * depth + d) * kTileCols;
    for (int v = 0; v < kTileCols; v += kLanes) {
      f32x16 w[kTaps], half[kIn * kFilter], whole[kPlaces];
      for (int t = 0; t < kTaps; ++t) w[t] = load(from + std::int64_t{t} * depth * kTileCols + v);
      for (int j = 0; j < kFilter; ++j) filter_1d(w + j, kFilter, half + j, kFilter);
      for (int j = 0; j < kIn; ++j) filter_1d(half + j * kFilter, 1, whole + j * kIn, 1);
      for (int place = 0; place < kPlaces; ++place) store(to + place * place_size + v, whole[place]);
    }
  });
}

// The same in the workspace, for one call.
template <class Value>
const float* transformed_weights(Context& ctx, int depth, int cols, Value value) {
  const std::int64_t size = kPlaces * packed_size(1, depth, cols),
                     taps_size = packed_size(kTaps, depth, cols);
  auto* u = static_cast<float*>(
      ctx.workspace(Context::kPacked, static_cast<std::size_t>(size + taps_size) * sizeof(float)));
  transform_weights(ctx, depth, cols, value, u + size, u);
  return u;
}

auto forward_weight(const Conv2dGeom& g, const float* w) {
  return [=](int t, int d, int n) { return w[(std::int64_t{n} * kTaps + t) * g.c + d]; };
}

// out[i][n] = sum over d of a[i][d] * b[d][n], n < cols <= Vectors * 16; b is a panel of gemm.h.
template <int Rows, int Vectors>
void multiply_rows(int depth,
                   const float* a,
                   std::int64_t a_step,
                   const float* b,
                   int cols,
                   float* out,
                   std::int64_t out_step) {
  f32x16 acc[Rows][Vectors];
  for (auto& row : acc) {
    for (f32x16& v : row) v = zero();
  }
#pragma GCC unroll 2
  for (int d = 0; d < depth; ++d, b += kTileCols) {
    f32x16 bv[Vectors];
    for (int v = 0; v < Vectors; ++v) bv[v] = load(b + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const f32x16 s = splat(a[i * a_step + d]);
      for (int v = 0; v < Vectors; ++v) acc[i][v] = fma(s, bv[v], acc[i][v]);
    }
  }
  for (int i = 0; i < Rows; ++i) {
    for (int v = 0; v < Vectors; ++v) {
      float* to = out + i * out_step + v * kLanes;
      if (cols == Vectors * kLanes) {
        store(to, acc[i][v]);
      } else {
        store_n(to, acc[i][v], lanes_left(cols - v * kLanes));
      }
    }
  }
}

using MultiplyRows = void (*)(int, const float*, std::int64_t, const float*, int, float*, std::int64_t);
template <int Vectors, std::size_t... Rows>
constexpr std::array<MultiplyRows, sizeof...(Rows)> multiply_rows_table(std::index_sequence<Rows...>) {
  return {&multiply_rows<static_cast<int>(Rows) + 1, Vectors>...};
}

// m[tile][n] = sum over d of v[tile][d] * u[d][n] for `count` tiles and the columns n0 .. n1 - 1 of one
// place.
void multiply(int count, int depth, int cols, int n0, int n1, const float* v, const float* u, float* m) {
  static constexpr auto kWide = multiply_rows_table<kTileVectors>(std::make_index_sequence<kTileRows>());
  static constexpr auto kNarrow = multiply_rows_table<1>(std::make_index_sequence<kTileRows>());
  const std::int64_t step = row_step(depth);
  for (int n = n0; n < n1; n += kTileCols) {
    const float* panel = u + std::int64_t{n} * depth;
    const int width = std::min(kTileCols, n1 - n);
    const auto& table = width > kLanes ? kWide : kNarrow;
    for (int i = 0; i < count; i += kTileRows) {
      const int height = std::min(kTileRows, count - i);
      table[static_cast<std::size_t>(height - 1)](
          depth, v + i * step, step, panel, width, m + std::int64_t{i} * cols + n, cols);
    }
  }
}

// A block's transformed input and products should stay in the cache; blocks of few tiles read the weights
// more often. Multiples of both tile heights of gemm.h.
int tiles_of_a_block(int depth, int cols) { return depth + cols <= 128 ? 24 : 48; }

// The same for a correlation: few tiles are shared out evenly, so that one image keeps every thread busy.
int tiles_of_a_block(int depth, int cols, std::int64_t tiles, int threads) {
  const std::int64_t even = chunk_count(tiles, std::int64_t{threads} * kTileRows) * kTileRows;
  return static_cast<int>(std::min<std::int64_t>(tiles_of_a_block(depth, cols), even));
}

// A correlation of x [n, h, w, depth] with transformed weights u: the forward, and the input gradient with
// turned ones.
template <class T>
struct Correlation {
  int n;
  Map<T> x;
  int pad, out_h, out_w, cols;
  const float* u;

  Tiling tiling() const { return Tiling::of(out_h, out_w); }
  std::int64_t tiles() const { return n * tiling().per_image(); }
  std::int64_t place_size() const { return packed_size(1, x.c, cols); }
};

// Each thread takes blocks of tiles through all places.
template <class T, class Finish>
void correlate_by_block(Context& ctx, const Correlation<T>& of, Finish finish) {
  const Tiling tiling = of.tiling();
  const std::int64_t tiles = of.tiles();
  const int block = tiles_of_a_block(of.x.c, of.cols, tiles, ctx.threads()), step = row_step(of.x.c);
  const std::int64_t space = std::int64_t{kPlaces} * block * (step + of.cols);
  auto* buffers = static_cast<float*>(
      ctx.workspace(Context::kColumns, static_cast<std::size_t>(space * ctx.threads()) * sizeof(float)));
  parallel_ranges(ctx, chunk_count(tiles, block), [&](std::int64_t begin, std::int64_t end, int thread) {
    float* v = buffers + space * thread;
    for (std::int64_t index = begin; index < end; ++index) {
      const std::int64_t first = index * block;
      const int count = static_cast<int>(std::min<std::int64_t>(block, tiles - first));
      const std::int64_t v_place = std::int64_t{count} * step, m_place = std::int64_t{count} * of.cols;
      float* m = v + kPlaces * v_place;
      transform_input(of.x, tiling, of.pad, first, count, v, v_place);
      for (int place = 0; place < kPlaces; ++place) {
        multiply(count,
                 of.x.c,
                 of.cols,
                 0,
                 of.cols,
                 v + place * v_place,
                 of.u + place * of.place_size(),
                 m + place * m_place);
      }
      transform_output(tiling, of.out_h, of.out_w, of.cols, first, count, m, m_place, finish);
    }
  });
}

// The threads share out the places: weights larger than the cache are read once a chunk of tiles, and a few
// tiles keep all threads busy.
template <class T, class Finish>
void correlate_by_place(Context& ctx, const Correlation<T>& of, Finish finish) {
  constexpr std::int64_t kChunkTiles = 128, kTilesOfAJob = 4;
  constexpr int kColsOfAJob = 128;
  const Tiling tiling = of.tiling();
  const int step = row_step(of.x.c);
  const std::int64_t tiles = of.tiles(), space = std::min(tiles, kChunkTiles);
  const std::int64_t v_place = space * step, m_place = space * of.cols;
  auto* v = static_cast<float*>(ctx.workspace(
      Context::kColumns, static_cast<std::size_t>(kPlaces * (v_place + m_place)) * sizeof(float)));
  float* m = v + kPlaces * v_place;
  for (std::int64_t first = 0; first < tiles; first += space) {
    const std::int64_t chunk = std::min(space, tiles - first);
    for_chunks(ctx, chunk, kTilesOfAJob, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      const int count = static_cast<int>(end - begin);
      transform_input(of.x, tiling, of.pad, first + begin, count, v + begin * step, v_place);
    });
    const std::int64_t parts = chunk_count(of.cols, kColsOfAJob);
    parallel_for(ctx, kPlaces * parts, [&](std::int64_t job) {
      const std::int64_t place = job / parts;
      const int n0 = static_cast<int>(job % parts) * kColsOfAJob, n1 = std::min(of.cols, n0 + kColsOfAJob);
      multiply(static_cast<int>(chunk),
               of.x.c,
               of.cols,
               n0,
               n1,
               v + place * v_place,
               of.u + place * of.place_size(),
               m + place * m_place);
    });
    for_chunks(ctx, chunk, kTilesOfAJob, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      const int count = static_cast<int>(end - begin);
      transform_output(
          tiling, of.out_h, of.out_w, of.cols, first + begin, count, m + begin * of.cols, m_place, finish);
    });
  }
}

template <class T, class Finish>
void correlate(Context& ctx, const Correlation<T>& of, Finish finish) {
  constexpr std::int64_t kLargeWeights = 36 * 256 * 256;  // 9.4 MB
  if (kPlaces * of.place_size() >= kLargeWeights) {
    correlate_by_place(ctx, of, finish);
  } else {
    correlate_by_block(ctx, of, finish);
  }
}

// The weight gradient in the transformed domain: sums[place][k][c] over all tiles of d[place][tile][k] *
// v[place][tile][c], with v of the input and d of the output gradient.
template <class T>
struct WeightSums {
  Map<T> x, dy;
  int images, pad, k, c;
  Tiling tiling;

  std::int64_t tiles() const { return images * tiling.per_image(); }
  std::int64_t size() const { return std::int64_t{kPlaces} * k * c; }
  int x_step() const { return row_step(c); }
  int dy_step() const { return row_step(k); }
};

// Transformed tiles of both, `place_rows` tiles from place to place, of which `count` are there.
struct TransformedTiles {
  const float *v, *d;
  int count;
  std::int64_t place_rows;
};

// The tiles of one place for the rows k0 .. k1 - 1, added to sums.
template <class T>
void add_products(
    const WeightSums<T>& of, const TransformedTiles& tiles, int place, int k0, int k1, float* sums) {
  const float* rows[kOuterBlock];
  for (int m0 = 0; m0 < tiles.count; m0 += kOuterBlock) {
    const int height = std::min(kOuterBlock, tiles.count - m0);
    const std::int64_t first = place * tiles.place_rows + m0;
    for (int m = 0; m < height; ++m) rows[m] = tiles.v + (first + m) * of.x_step();
    gemm_outer_block(height,
                     k1 - k0,
                     tiles.d + first * of.dy_step() + k0,
                     of.dy_step(),
                     1,
                     rows,
                     of.c,
                     sums + (std::int64_t{place} * of.k + k0) * of.c,
                     of.c);
  }
}

// Small sums: one set a shard of the batch, filled block by block while it is in the cache; then the sets are
// added in order.
template <class T>
void sums_by_shard(Context& ctx, const WeightSums<T>& of, const BatchShards& shards, float* sums) {
  const int block = tiles_of_a_block(of.c, of.k);
  const std::int64_t space = std::int64_t{kPlaces} * block * (of.x_step() + of.dy_step());
  auto* buffers = static_cast<float*>(
      ctx.workspace(Context::kColumns, static_cast<std::size_t>(space * ctx.threads()) * sizeof(float)));
  parallel_ranges(ctx, shards.count, [&](std::int64_t begin, std::int64_t end, int thread) {
    float* v = buffers + space * thread;
    for (std::int64_t shard = begin; shard < end; ++shard) {
      float* mine = sums + shard * of.size();
      std::fill_n(mine, of.size(), 0.f);
      const std::int64_t last = shards.end(shard) * of.tiling.per_image();
      for (std::int64_t first = shards.begin(shard) * of.tiling.per_image(); first < last; first += block) {
        const int count = static_cast<int>(std::min<std::int64_t>(block, last - first));
        float* d = v + std::int64_t{kPlaces} * count * of.x_step();
        transform_input(of.x, of.tiling, of.pad, first, count, v, std::int64_t{count} * of.x_step());
        transform_gradient(of.dy, of.tiling, first, count, d, std::int64_t{count} * of.dy_step());
        for (int place = 0; place < kPlaces; ++place)
          add_products(of, {v, d, count, count}, place, 0, of.k, mine);
      }
    }
  });
  if (shards.count > 1) {
    sum_partials(ctx, static_cast<int>(shards.count), of.size(), sums, sums, Write::kOverwrite);
  }
}

// Large sums: one set, whose rows are shared out among the threads, from chunks of tiles transformed
// beforehand.
template <class T>
void sums_by_place(Context& ctx, const WeightSums<T>& of, float* sums) {
  constexpr std::int64_t kChunkTiles = 512, kTilesOfAJob = 4;
  constexpr int kRowsOfAJob = 48;  // a multiple of both tile heights of gemm.h
  const std::int64_t tiles = of.tiles(), space = std::min(tiles, kChunkTiles);
  const int x_step = of.x_step(), dy_step = of.dy_step();
  auto* v = static_cast<float*>(ctx.workspace(
      Context::kColumns, static_cast<std::size_t>(kPlaces * space * (x_step + dy_step)) * sizeof(float)));
  float* d = v + kPlaces * space * x_step;
  for (std::int64_t first = 0; first < tiles; first += kChunkTiles) {
    const std::int64_t chunk = std::min(kChunkTiles, tiles - first);
    for_chunks(ctx, chunk, kTilesOfAJob, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      const int count = static_cast<int>(end - begin);
      transform_input(of.x, of.tiling, of.pad, first + begin, count, v + begin * x_step, space * x_step);
      transform_gradient(of.dy, of.tiling, first + begin, count, d + begin * dy_step, space * dy_step);
    });
    const std::int64_t jobs = chunk_count(of.k, kRowsOfAJob);
    parallel_for(ctx, kPlaces * jobs, [&](std::int64_t job) {
      const int place = static_cast<int>(job / jobs), k0 = static_cast<int>(job % jobs) * kRowsOfAJob;
      const int k1 = std::min(of.k, k0 + kRowsOfAJob);
      float* rows = sums + (std::int64_t{place} * of.k + k0) * of.c;
      if (first == 0) std::fill_n(rows, std::int64_t{k1 - k0} * of.c, 0.f);
      add_products(of, {v, d, static_cast<int>(chunk), space}, place, k0, k1, sums);
    });
  }
}

// dw = C^T sums C.
void taps_of_sums(Context& ctx, int filters, int channels, const float* sums, float* dw, Write write) {
  parallel_for(ctx, filters, [&](std::int64_t k) {
    for (int c = 0; c < channels; c += kLanes) {
      const int lanes = lanes_left(channels - c);
      f32x16 whole[kPlaces], half[kFilter * kIn], taps[kTaps];
      for (int place = 0; place < kPlaces; ++place) {
        whole[place] = load_n(sums + (std::int64_t{place} * filters + k) * channels + c, lanes);
      }
      for (int j = 0; j < kIn; ++j) taps_1d(whole + j, kIn, half + j, kIn);
      for (int j = 0; j < kFilter; ++j) taps_1d(half + j * kIn, 1, taps + j * kFilter, 1);
      for (int t = 0; t < kTaps; ++t) {
        float* to = dw + (k * kTaps + t) * channels + c;
        if (write == Write::kAccumulate) taps[t] += load_n(to, lanes);
        store_n(to, taps[t], lanes);
      }
    }
  });
}

}  // namespace

bool handles(const Conv2dGeom& g) {
  return g.r == kFilter && g.s == kFilter && g.stride == 1 && g.groups == 1 && g.pad <= 2;
}

std::int64_t forward_weight_size(const Conv2dGeom& g) { return kPlaces * packed_size(1, g.c, g.k); }

void pack_forward_weights(Context& ctx, const Conv2dGeom& g, const float* w, float* packed) {
  auto* taps = static_cast<float*>(ctx.workspace(
      Context::kPacked, static_cast<std::size_t>(packed_size(kTaps, g.c, g.k)) * sizeof(float)));
  transform_weights(ctx, g.c, g.k, forward_weight(g, w), taps, packed);
}

template <class T>
void conv2d_forward(
    Context& ctx, const Conv2dGeom& g, const T* x, const float* w, const Epilogue<T>& epilogue) {
  conv2d_forward_packed(ctx, g, x, transformed_weights(ctx, g.c, g.k, forward_weight(g, w)), epilogue);
}

template <class T>
void conv2d_forward_packed(
    Context& ctx, const Conv2dGeom& g, const T* x, const float* u, const Epilogue<T>& epilogue) {
  const Correlation<T> correlation{g.n, {x, g.h, g.w, g.c}, g.pad, g.out_h(), g.out_w(), g.k, u};
  correlate(ctx, correlation, [=](std::int64_t at, int k, int lanes, f32x16 value) {
    epilogue.store(at, k, lanes, value);
  });
}

template <class T>
void conv2d_backward_input(
    Context& ctx, const Conv2dGeom& g, const T* dy, const float* w, T* dx, Write write) {
  // dx[p] = sum over r of dy[p + pad - r] w[r]: the turned filter over dy, which begins pad - 2 before p.
  const float* u = transformed_weights(ctx, g.k, g.c, [=](int t, int d, int n) {
    return w[(std::int64_t{d} * kTaps + (kTaps - 1 - t)) * g.c + n];
  });
  const Correlation<T> correlation{
      g.n, {dy, g.out_h(), g.out_w(), g.k}, kFilter - 1 - g.pad, g.h, g.w, g.c, u};
  correlate(ctx, correlation, [=](std::int64_t at, int, int lanes, f32x16 value) {
    if (write == Write::kAccumulate) value += load_n(dx + at, lanes);
    store_n(dx + at, value, lanes);
  });
}

template <class T>
void conv2d_backward_weight(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  constexpr std::int64_t kSmallSums = 36 * 128 * 128;
  const WeightSums<T> of{{x, g.h, g.w, g.c},
                         {dy, g.out_h(), g.out_w(), g.k},
                         g.n,
                         g.pad,
                         g.k,
                         g.c,
                         Tiling::of(g.out_h(), g.out_w())};
  const bool small = of.size() <= kSmallSums;
  const BatchShards shards = small ? weight_gradient_shards(g) : BatchShards{g.n, 1};
  auto* sums = static_cast<float*>(
      ctx.workspace(Context::kPartials, static_cast<std::size_t>(shards.count * of.size()) * sizeof(float)));
  if (small) {
    sums_by_shard(ctx, of, shards, sums);
  } else {
    sums_by_place(ctx, of, sums);
  }
  taps_of_sums(ctx, g.k, g.c, sums, dw, write);
}

#define OFFRAMP_INSTANTIATE(T)                                                                           \
  template void conv2d_forward(Context&, const Conv2dGeom&, const T*, const float*, const Epilogue<T>&); \
  template void conv2d_forward_packed(                                                                   \
      Context&, const Conv2dGeom&, const T*, const float*, const Epilogue<T>&);                          \
  template void conv2d_backward_input(Context&, const Conv2dGeom&, const T*, const float*, T*, Write);   \
  template void conv2d_backward_weight(Context&, const Conv2dGeom&, const T*, const T*, float*, Write);
OFFRAMP_INSTANTIATE(float)
OFFRAMP_INSTANTIATE(bf16)
#undef OFFRAMP_INSTANTIATE

}  // namespace offramp::cpu::winograd
