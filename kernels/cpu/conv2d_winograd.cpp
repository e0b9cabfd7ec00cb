// A 4x4 tile of the output is A^T [ (G w G^T) * (B^T x B) ] A with the 6x6 tile x under it; the products of
// all tiles are 36 matrix products, one for each place of the 6x6 tile. A block of tiles goes through
// transformation, products and back while it is in the second-level cache. The weight gradient is the
// transposed identity: with the same points, dw = C^T [ sum over tiles of (H dy H^T) * (B^T x B) ] C for 4x4
// tiles of dy.
#include "kernels/cpu/conv2d_winograd.h"

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/shards.h"

namespace offramp::cpu::winograd {
namespace {

constexpr int kOut = 4, kIn = 6, kFilter = 3, kPlaces = kIn * kIn;
constexpr int kMaxTiles = 96;                  // of a block: a multiple of both tile heights of gemm.h
constexpr std::int64_t kBlockBytes = 1 << 20;  // transformed input and products of a block

// Floats between the rows of a transformed tensor with `c` channels. Rows a power of two apart fall into few
// sets of the first-level cache: the weight gradient of 128 -> 128 channels, which walks down the rows, took
// 1.3 times as long.
int row_step(int c) { return c % 128 == 0 ? c + kLanes : c; }

// The 1-D transformations. in and out are rows of vectors, `step` apart.
// B^T: 6 inputs.
OFFRAMP_SIMD_FN void input_1d(const f32x16* in, int step, f32x16* out, int out_step) {
  const f32x16 d0 = in[0], d1 = in[step], d2 = in[2 * step], d3 = in[3 * step], d4 = in[4 * step],
               d5 = in[5 * step];
  const f32x16 two = splat(2.f), four = splat(4.f), five = splat(5.f);
  const f32x16 even = fma(-four, d2, d4), odd = fma(-four, d1, d3);
  const f32x16 near = d4 - d2, cross = two * (d3 - d1);
  out[0] = fma(four, d0, fma(-five, d2, d4));
  out[out_step] = even + odd;
  out[2 * out_step] = even - odd;
  out[3 * out_step] = near + cross;
  out[4 * out_step] = near - cross;
  out[5 * out_step] = fma(four, d1, fma(-five, d3, d5));
}
// A^T: 6 products -> 4 outputs.
OFFRAMP_SIMD_FN void output_1d(const f32x16* in, int step, f32x16* out, int out_step) {
  const f32x16 a = in[step] + in[2 * step], b = in[step] - in[2 * step];
  const f32x16 c = in[3 * step] + in[4 * step], d = in[3 * step] - in[4 * step];
  out[0] = in[0] + a + c;
  out[out_step] = fma(splat(2.f), d, b);
  out[2 * out_step] = fma(splat(4.f), c, a);
  out[3 * out_step] = fma(splat(8.f), d, b) + in[5 * step];
}
// G: 3 taps -> 6.
OFFRAMP_SIMD_FN void filter_1d(const f32x16* in, int step, f32x16* out, int out_step) {
  const f32x16 g0 = in[0], g1 = in[step], g2 = in[2 * step];
  const f32x16 sixth = splat(-1.f / 6), small = splat(1.f / 24), twelfth = splat(1.f / 12);
  const f32x16 sides = g0 + g2, far = fma(splat(4.f), g2, g0) * small;
  out[0] = g0 * splat(0.25f);
  out[out_step] = (sides + g1) * sixth;
  out[2 * out_step] = (sides - g1) * sixth;
  out[3 * out_step] = fma(twelfth, g1, far);
  out[4 * out_step] = fma(-twelfth, g1, far);
  out[5 * out_step] = g2;
}
// H: 4 output gradients -> 6.
OFFRAMP_SIMD_FN void gradient_1d(const f32x16* in, int step, f32x16* out, int out_step) {
  const f32x16 e0 = in[0], e1 = in[step], e2 = in[2 * step], e3 = in[3 * step];
  const f32x16 sixth = splat(-1.f / 6), small = splat(1.f / 24), twelfth = splat(1.f / 12);
  const f32x16 even = e0 + e2, odd = e1 + e3;
  const f32x16 far = fma(splat(4.f), e2, e0) * small, skew = fma(splat(4.f), e3, e1) * twelfth;
  out[0] = e0 * splat(0.25f);
  out[out_step] = (even + odd) * sixth;
  out[2 * out_step] = (even - odd) * sixth;
  out[3 * out_step] = far + skew;
  out[4 * out_step] = far - skew;
  out[5 * out_step] = e3;
}
// C^T: 6 sums -> 3 taps.
OFFRAMP_SIMD_FN void taps_1d(const f32x16* in, int step, f32x16* out, int out_step) {
  const f32x16 a = in[step] + in[2 * step], b = in[step] - in[2 * step];
  const f32x16 c = in[3 * step] + in[4 * step], d = in[3 * step] - in[4 * step];
  out[0] = in[0] + a + c;
  out[out_step] = fma(splat(2.f), d, b);
  out[2 * out_step] = fma(splat(4.f), c, a) + in[5 * step];
}

// How an image is cut into tiles of the output of a correlation.
struct Tiling {
  int rows = 0, columns = 0;  // tiles of an image
  std::int64_t per_image() const { return std::int64_t{rows} * columns; }
  static Tiling of(int out_h, int out_w) { return {(out_h + kOut - 1) / kOut, (out_w + kOut - 1) / kOut}; }
};

// A dense NHWC tensor, read as tiles whose corner may lie outside.
template <class T>
struct Map {
  const T* data;
  int h, w, c;

  // v[side][side] from rows top .. and columns left .., zero outside, channels c0 .. c0 + lanes - 1.
  template <int Side>
  OFFRAMP_SIMD_FN void load_tile(std::int64_t image, int top, int left, int c0, int lanes, f32x16* v) const {
    const T* base = data + image * h * w * c + c0;
    const bool inside = top >= 0 && left >= 0 && top + Side <= h && left + Side <= w && lanes == kLanes;
    for (int i = 0; i < Side; ++i) {
      for (int j = 0; j < Side; ++j) {
        const int row = top + i, column = left + j;
        const T* at = base + (std::int64_t{row} * w + column) * c;
        if (inside) {
          v[i * Side + j] = load(at);
        } else {
          const bool exists = row >= 0 && row < h && column >= 0 && column < w;
          v[i * Side + j] = exists ? load_n(at, lanes) : zero();
        }
      }
    }
  }
};

struct TilePlace {
  std::int64_t image;
  int row, column;  // of the tile's first output
};
TilePlace place_of(const Tiling& tiling, std::int64_t tile) {
  const auto in_image = static_cast<int>(tile % tiling.per_image());
  return {tile / tiling.per_image(), in_image / tiling.columns * kOut, in_image % tiling.columns * kOut};
}

// v[place][tile][c] of `count` tiles from `first`: B^T x B. Places lie `place_step` apart, tiles row_step(c).
template <class T>
void transform_input(const Map<T>& x,
                     const Tiling& tiling,
                     int pad,
                     std::int64_t first,
                     int count,
                     float* v,
                     std::int64_t place_step) {
  for (int i = 0; i < count; ++i) {
    const TilePlace at = place_of(tiling, first + i);
    for (int c = 0; c < x.c; c += kLanes) {
      const int lanes = lanes_left(x.c - c);
      f32x16 tile[kPlaces], half[kPlaces];
      x.template load_tile<kIn>(at.image, at.row - pad, at.column - pad, c, lanes, tile);
      for (int j = 0; j < kIn; ++j) input_1d(tile + j, kIn, half + j, kIn);
      for (int j = 0; j < kIn; ++j) input_1d(half + j * kIn, 1, tile + j * kIn, 1);
      float* to = v + std::int64_t{i} * row_step(x.c) + c;
      if (lanes == kLanes) {
        for (int place = 0; place < kPlaces; ++place) store(to + place * place_step, tile[place]);
      } else {
        for (int place = 0; place < kPlaces; ++place) store_n(to + place * place_step, tile[place], lanes);
      }
    }
  }
}

// d[place][tile][k]: H dy H^T. Places lie `place_step` apart, tiles row_step(k).
template <class T>
void transform_gradient(const Map<T>& dy,
                        const Tiling& tiling,
                        std::int64_t first,
                        int count,
                        float* d,
                        std::int64_t place_step) {
  for (int i = 0; i < count; ++i) {
    const TilePlace at = place_of(tiling, first + i);
    for (int k = 0; k < dy.c; k += kLanes) {
      const int lanes = lanes_left(dy.c - k);
      f32x16 tile[kOut * kOut], half[kIn * kOut], whole[kPlaces];
      dy.template load_tile<kOut>(at.image, at.row, at.column, k, lanes, tile);
      for (int j = 0; j < kOut; ++j) gradient_1d(tile + j, kOut, half + j, kOut);
      for (int j = 0; j < kIn; ++j) gradient_1d(half + j * kOut, 1, whole + j * kIn, 1);
      float* to = d + std::int64_t{i} * row_step(dy.c) + k;
      for (int place = 0; place < kPlaces; ++place) store_n(to + place * place_step, whole[place], lanes);
    }
  }
}

// u[place] = packed panels of G w G^T for inputs d and outputs n, weight (t, d, n) by value().
template <class Value>
const float* transform_weights(Context& ctx, int depth, int cols, Value value) {
  constexpr int kTaps = kFilter * kFilter;
  const std::int64_t place_size = packed_size(1, depth, cols), taps_size = packed_size(kTaps, depth, cols);
  auto* u = static_cast<float*>(ctx.workspace(
      Context::kPacked, static_cast<std::size_t>(kPlaces * place_size + taps_size) * sizeof(float)));
  float* taps = u + kPlaces * place_size;
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
  return u;
}

// m[place][tile][n] = v[place][tile][d] * u[place][d][n] for `count` <= kMaxTiles tiles.
void multiply(int count, int depth, int cols, const float* v, const float* u, float* m) {
  const float* rows[kMaxTiles + kTileRows];
  std::int64_t out[kMaxTiles + kTileRows];
  const std::int64_t place_size = packed_size(1, depth, cols);
  const int step = row_step(depth);
  for (int place = 0; place < kPlaces;
       ++place, v += std::int64_t{count} * step, u += place_size, m += std::int64_t{count} * cols) {
    for (int i = 0; i < count + kTileRows; ++i) {
      const std::int64_t row = std::min(i, count - 1);
      rows[i] = v + row * step;
      out[i] = row * cols;
    }
    const auto store_vector = [m](std::int64_t at, int, int lanes, f32x16 value) {
      if (lanes == kLanes) {
        store(m + at, value);
      } else {
        store_n(m + at, value, lanes);
      }
    };
    for (int n = 0; n < cols; n += kTileCols) {
      const float* panel = u + std::int64_t{n} * depth;
      for (int i = 0; i < count; i += kTileRows) {
        const int valid = std::min(kTileRows, count - i);
        if (cols - n > kLanes) {
          tile_rows_to<kTileVectors>(
              1, depth, rows + i, nullptr, panel, valid, n, cols, out + i, store_vector);
        } else {
          tile_rows_to<1>(1, depth, rows + i, nullptr, panel, valid, n, cols, out + i, store_vector);
        }
      }
    }
  }
}

// finish(at, n, lanes, value) for every output of the tiles: A^T m A.
template <class Finish>
void transform_output(const Tiling& tiling,
                      int out_h,
                      int out_w,
                      int cols,
                      std::int64_t first,
                      int count,
                      const float* m,
                      Finish finish) {
  const std::int64_t place_step = std::int64_t{count} * cols;
  for (int i = 0; i < count; ++i) {
    const TilePlace at = place_of(tiling, first + i);
    const int height = std::min(kOut, out_h - at.row), width = std::min(kOut, out_w - at.column);
    for (int n = 0; n < cols; n += kLanes) {
      const int lanes = lanes_left(cols - n);
      const float* from = m + std::int64_t{i} * cols + n;
      f32x16 whole[kPlaces], half[kOut * kIn], tile[kOut * kOut];
      if (lanes == kLanes) {
        for (int place = 0; place < kPlaces; ++place) whole[place] = load(from + place * place_step);
      } else {
        for (int place = 0; place < kPlaces; ++place) whole[place] = load_n(from + place * place_step, lanes);
      }
      for (int j = 0; j < kIn; ++j) output_1d(whole + j, kIn, half + j, kIn);
      for (int j = 0; j < kOut; ++j) output_1d(half + j * kIn, 1, tile + j * kOut, 1);
      for (int r = 0; r < height; ++r) {
        const std::int64_t pixel = (at.image * out_h + at.row + r) * out_w + at.column;
        for (int s = 0; s < width; ++s) finish((pixel + s) * cols + n, n, lanes, tile[r * kOut + s]);
      }
    }
  }
}

int tiles_of_a_block(int depth, int cols) {
  const std::int64_t fitting =
      kBlockBytes / (std::int64_t{kPlaces} * (depth + cols) * static_cast<int>(sizeof(float)));
  const std::int64_t whole = fitting / 12 * 12;
  return static_cast<int>(std::clamp<std::int64_t>(whole, 48, kMaxTiles));
}

// Correlation of x [n, h, w, depth] with the transformed weights: the forward, and the input gradient with
// turned ones.
template <class T, class Finish>
void correlate(Context& ctx,
               int n,
               const Map<T>& x,
               int pad,
               int out_h,
               int out_w,
               int cols,
               const float* u,
               Finish finish) {
  const Tiling tiling = Tiling::of(out_h, out_w);
  const std::int64_t tiles = n * tiling.per_image();
  const int block = tiles_of_a_block(x.c, cols);
  const int step = row_step(x.c);
  const std::int64_t space = std::int64_t{kPlaces} * block * (step + cols);
  auto* buffers = static_cast<float*>(
      ctx.workspace(Context::kColumns, static_cast<std::size_t>(space * ctx.threads()) * sizeof(float)));
  parallel_ranges(ctx, chunk_count(tiles, block), [&](std::int64_t begin, std::int64_t end, int thread) {
    float* v = buffers + space * thread;
    for (std::int64_t index = begin; index < end; ++index) {
      const std::int64_t first = index * block;
      const int count = static_cast<int>(std::min<std::int64_t>(block, tiles - first));
      float* m = v + std::int64_t{kPlaces} * count * step;
      transform_input(x, tiling, pad, first, count, v, std::int64_t{count} * step);
      multiply(count, x.c, cols, v, u, m);
      transform_output(tiling, out_h, out_w, cols, first, count, m, finish);
    }
  });
}

// sums[place][k][c] += sum over the tiles of d[place][tile][k] * v[place][tile][c], for k in [k0, k1).
void add_products(int place,
                  int count,
                  std::int64_t place_rows,
                  int k0,
                  int k1,
                  int k,
                  int c,
                  const float* d,
                  const float* v,
                  float* sums) {
  const float* rows[kOuterBlock];
  for (int m0 = 0; m0 < count; m0 += kOuterBlock) {
    const int height = std::min(kOuterBlock, count - m0);
    for (int m = 0; m < height; ++m) rows[m] = v + (place * place_rows + m0 + m) * row_step(c);
    gemm_outer_block(height,
                     k1 - k0,
                     d + (place * place_rows + m0) * row_step(k) + k0,
                     row_step(k),
                     1,
                     rows,
                     c,
                     sums + (std::int64_t{place} * k + k0) * c,
                     c);
  }
}

}  // namespace

bool handles(const Conv2dGeom& g) {
  return g.r == kFilter && g.s == kFilter && g.stride == 1 && g.groups == 1 && g.pad <= 2;
}

template <class T>
void conv2d_forward(
    Context& ctx, const Conv2dGeom& g, const T* x, const float* w, const Epilogue<T>& epilogue) {
  const float* u = transform_weights(ctx, g.c, g.k, [=](int t, int d, int n) {
    return w[(std::int64_t{n} * kFilter * kFilter + t) * g.c + d];
  });
  correlate(ctx,
            g.n,
            Map<T>{x, g.h, g.w, g.c},
            g.pad,
            g.out_h(),
            g.out_w(),
            g.k,
            u,
            [=](std::int64_t at, int k, int lanes, f32x16 value) { epilogue.store(at, k, lanes, value); });
}

template <class T>
void conv2d_backward_input(
    Context& ctx, const Conv2dGeom& g, const T* dy, const float* w, T* dx, Write write) {
  // dx[p] = sum over r of dy[p + pad - r] w[r]: the turned filter over dy, which begins pad - 2 before p.
  const float* u = transform_weights(ctx, g.k, g.c, [=](int t, int d, int n) {
    return w[(std::int64_t{d} * kFilter * kFilter + (kFilter * kFilter - 1 - t)) * g.c + n];
  });
  correlate(ctx,
            g.n,
            Map<T>{dy, g.out_h(), g.out_w(), g.k},
            kFilter - 1 - g.pad,
            g.h,
            g.w,
            g.c,
            u,
            [=](std::int64_t at, int, int lanes, f32x16 value) {
              if (write == Write::kAccumulate) value += load_n(dx + at, lanes);
              store_n(dx + at, value, lanes);
            });
}

template <class T>
void conv2d_backward_weight(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  const Tiling tiling = Tiling::of(g.out_h(), g.out_w());
  const Map<T> xs{x, g.h, g.w, g.c}, dys{dy, g.out_h(), g.out_w(), g.k};
  const std::int64_t tiles = g.n * tiling.per_image(), sums_size = std::int64_t{kPlaces} * g.k * g.c;
  const int x_step = row_step(g.c), dy_step = row_step(g.k);
  // Small sums: one set a shard, filled block by block while it is in the cache. Large sums: one set, whose
  // rows are shared out, from all tiles transformed beforehand.
  constexpr std::int64_t kSmallSums = 36 * 128 * 128;
  const bool sharded = sums_size <= kSmallSums;
  const BatchShards shards = sharded ? weight_gradient_shards(g) : BatchShards{g.n, 1};
  auto* sums = static_cast<float*>(
      ctx.workspace(Context::kPartials, static_cast<std::size_t>(shards.count * sums_size) * sizeof(float)));
  if (sharded) {
    const int block = tiles_of_a_block(g.c, g.k);
    const std::int64_t space = std::int64_t{kPlaces} * block * (x_step + dy_step);
    auto* buffers = static_cast<float*>(
        ctx.workspace(Context::kColumns, static_cast<std::size_t>(space * ctx.threads()) * sizeof(float)));
    parallel_ranges(ctx, shards.count, [&](std::int64_t begin, std::int64_t end, int thread) {
      float* v = buffers + space * thread;
      for (std::int64_t shard = begin; shard < end; ++shard) {
        float* mine = sums + shard * sums_size;
        std::fill_n(mine, sums_size, 0.f);
        const std::int64_t last = shards.end(shard) * tiling.per_image();
        for (std::int64_t first = shards.begin(shard) * tiling.per_image(); first < last; first += block) {
          const int count = static_cast<int>(std::min<std::int64_t>(block, last - first));
          float* d = v + std::int64_t{kPlaces} * count * x_step;
          transform_input(xs, tiling, g.pad, first, count, v, std::int64_t{count} * x_step);
          transform_gradient(dys, tiling, first, count, d, std::int64_t{count} * dy_step);
          for (int place = 0; place < kPlaces; ++place)
            add_products(place, count, count, 0, g.k, g.k, g.c, d, v, mine);
        }
      }
    });
    if (shards.count > 1) {
      sum_partials(ctx, static_cast<int>(shards.count), sums_size, sums, sums, Write::kOverwrite);
    }
  } else {
    constexpr std::int64_t kChunkTiles = 512;
    const std::int64_t space = std::min(tiles, kChunkTiles);
    auto* v = static_cast<float*>(ctx.workspace(
        Context::kColumns, static_cast<std::size_t>(kPlaces * space * (x_step + dy_step)) * sizeof(float)));
    float* d = v + kPlaces * space * x_step;
    for (std::int64_t first = 0; first < tiles; first += kChunkTiles) {
      const std::int64_t chunk = std::min(kChunkTiles, tiles - first);
      constexpr std::int64_t kTilesOfAJob = 4;
      for_chunks(ctx, chunk, kTilesOfAJob, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        const int count = static_cast<int>(end - begin);
        transform_input(xs, tiling, g.pad, first + begin, count, v + begin * x_step, space * x_step);
        transform_gradient(dys, tiling, first + begin, count, d + begin * dy_step, space * dy_step);
      });
      constexpr int kRowsOfAJob = 48;  // a multiple of both tile heights of gemm.h
      const std::int64_t jobs = chunk_count(g.k, kRowsOfAJob);
      parallel_for(ctx, kPlaces * jobs, [&](std::int64_t job) {
        const int place = static_cast<int>(job / jobs), k0 = static_cast<int>(job % jobs) * kRowsOfAJob;
        const int k1 = std::min(g.k, k0 + kRowsOfAJob);
        float* rows = sums + (std::int64_t{place} * g.k + k0) * g.c;
        if (first == 0) std::fill_n(rows, std::int64_t{k1 - k0} * g.c, 0.f);
        add_products(place, static_cast<int>(chunk), space, k0, k1, g.k, g.c, d, v, sums);
      });
    }
  }
  parallel_for(ctx, g.k, [&](std::int64_t k) {
    for (int c = 0; c < g.c; c += kLanes) {
      const int lanes = lanes_left(g.c - c);
      f32x16 whole[kPlaces], half[kFilter * kIn], taps[kFilter * kFilter];
      for (int place = 0; place < kPlaces; ++place) {
        whole[place] = load_n(sums + (std::int64_t{place} * g.k + k) * g.c + c, lanes);
      }
      for (int j = 0; j < kIn; ++j) taps_1d(whole + j, kIn, half + j, kIn);
      for (int j = 0; j < kFilter; ++j) taps_1d(half + j * kIn, 1, taps + j * kFilter, 1);
      for (int t = 0; t < kFilter * kFilter; ++t) {
        float* to = dw + (k * kFilter * kFilter + t) * g.c + c;
        if (write == Write::kAccumulate) taps[t] += load_n(to, lanes);
        store_n(to, taps[t], lanes);
      }
    }
  });
}

#define OFFRAMP_INSTANTIATE(T)                                                                           \
  template void conv2d_forward(Context&, const Conv2dGeom&, const T*, const float*, const Epilogue<T>&); \
  template void conv2d_backward_input(Context&, const Conv2dGeom&, const T*, const float*, T*, Write);   \
  template void conv2d_backward_weight(Context&, const Conv2dGeom&, const T*, const T*, float*, Write);
OFFRAMP_INSTANTIATE(float)
OFFRAMP_INSTANTIATE(bf16)
#undef OFFRAMP_INSTANTIATE

}  // namespace offramp::cpu::winograd
