// The transformations of conv2d_winograd.cpp: tiles of activations, gradients and products, 16 channels at a
// time. From the interpolation points p = 0, 1, -1, 2, -2 and infinity (Lavin and Gray 2016;
// docs/guide/winograd.md): row p of G and H is (1, p, p^2, p^3) over the product of p's distances from the
// other finite points, row p of B^T the coefficients of the product of (x - q) over these q, column p of A^T
// and C^T the powers of p.
//         [ 4  0 -5  0  1  0 ]       [  1/4    0     0  ]       [  1/4    0     0     0  ]
//         [ 0 -4 -4  1  1  0 ]       [ -1/6  -1/6  -1/6 ]       [ -1/6  -1/6  -1/6  -1/6 ]
//   B^T = [ 0  4 -4 -1  1  0 ]   G = [ -1/6   1/6  -1/6 ]   H = [ -1/6   1/6  -1/6   1/6 ]
//         [ 0 -2 -1  2  1  0 ]       [  1/24  1/12  1/6 ]       [  1/24  1/12  1/6   1/3 ]
//         [ 0  2 -1 -2  1  0 ]       [  1/24 -1/12  1/6 ]       [  1/24 -1/12  1/6  -1/3 ]
//         [ 0  4  0 -5  0  1 ]       [   0     0     1  ]       [   0     0     0     1  ]
//         [ 1  1  1  1  1  0 ]
//   A^T = [ 0  1 -1  2 -2  0 ]         [ 1  1  1  1  1  0 ]
//         [ 0  1  1  4  4  0 ]   C^T = [ 0  1 -1  2 -2  0 ]
//         [ 0  1 -1  8 -8  1 ]         [ 0  1  1  4  4  1 ]
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/simd.h"

namespace offramp::cpu::winograd {

inline constexpr int kOut = 4, kIn = 6, kFilter = 3, kPlaces = kIn * kIn;

// Floats between the rows of a transformed tensor with `c` channels. Rows a power of two apart fall into few
// sets of the first-level cache: the weight gradient of 128 -> 128 channels, which walks down the rows, took
// 1.3 times as long.
inline int row_step(int c) { return c % 128 == 0 ? c + kLanes : c; }

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

// Tiles one after the other, from `tile` on.
struct TileWalk {
  TileWalk(const Tiling& of, std::int64_t tile)
      : tiling(of),
        image(tile / of.per_image()),
        row(static_cast<int>(tile % of.per_image()) / of.columns * kOut),
        column(static_cast<int>(tile % of.per_image()) % of.columns * kOut) {}
  void next() {
    column += kOut;
    if (column < tiling.columns * kOut) return;
    column = 0;
    row += kOut;
    if (row < tiling.rows * kOut) return;
    row = 0;
    ++image;
  }
  const Tiling tiling;
  std::int64_t image;
  int row, column;  // of the tile's first output
};

// A dense NHWC tensor, read as tiles whose corner may lie outside.
template <class T>
struct Map {
  const T* data;
  int h, w, c;

  // use(value_of) with value_of(i, j) the vector of row top + i, column left + j, zero outside, channels c0
  // .. c0 + lanes - 1.
  template <int Side, class Use>
  OFFRAMP_SIMD_FN void with_tile(
      std::int64_t image, int top, int left, int c0, int lanes, const Use& use) const {
    const std::int64_t pixel_step = c, line_step = w * pixel_step;
    const T* base = data + ((image * h + top) * w + left) * c + c0;
    if (top >= 0 && left >= 0 && top + Side <= h && left + Side <= w && lanes == kLanes) {
      use([=](int i, int j) { return load(base + i * line_step + j * pixel_step); });
      return;
    }
    int row_lanes[Side], column_lanes[Side];
    for (int i = 0; i < Side; ++i) {
      row_lanes[i] = top + i >= 0 && top + i < h ? lanes : 0;
      column_lanes[i] = left + i >= 0 && left + i < w ? lanes : 0;
    }
    use([&](int i, int j) {
      return load_n(base + i * line_step + j * pixel_step, row_lanes[i] & column_lanes[j]);
    });
  }
};

// to[place][tile][c] of `count` tiles of Side x Side from `first`: one_d down the columns, then along the
// rows. Places lie `place_step` apart, tiles row_step(c).
template <int Side, class T, class OneD>
OFFRAMP_SIMD_FN void transform_tiles(const Map<T>& x,
                                     const Tiling& tiling,
                                     int pad,
                                     std::int64_t first,
                                     int count,
                                     float* to,
                                     std::int64_t place_step,
                                     const OneD& one_d) {
  TileWalk at(tiling, first);
  for (int i = 0; i < count; ++i, at.next()) {
    for (int c = 0; c < x.c; c += kLanes) {
      const int lanes = lanes_left(x.c - c);
      float* tile = to + std::int64_t{i} * row_step(x.c) + c;
      x.template with_tile<Side>(
          at.image, at.row - pad, at.column - pad, c, lanes, [&](const auto& value_of) {
            f32x16 half[kIn * Side];
#pragma GCC unroll 6
            for (int j = 0; j < Side; ++j) {
              f32x16 column[Side];
              for (int k = 0; k < Side; ++k) column[k] = value_of(k, j);
              one_d(column, 1, half + j, Side);
            }
#pragma GCC unroll 6
            for (int j = 0; j < kIn; ++j) {
              f32x16 row[kIn];
              one_d(half + j * Side, 1, row, 1);
              float* place = tile + j * kIn * place_step;
              for (int k = 0; k < kIn; ++k) {
                if (lanes == kLanes) {
                  store(place + k * place_step, row[k]);
                } else {
                  store_n(place + k * place_step, row[k], lanes);
                }
              }
            }
          });
    }
  }
}

// v[place][tile][c]: B^T x B.
template <class T>
void transform_input(const Map<T>& x,
                     const Tiling& tiling,
                     int pad,
                     std::int64_t first,
                     int count,
                     float* v,
                     std::int64_t place_step) {
  transform_tiles<kIn>(
      x, tiling, pad, first, count, v, place_step, [](const f32x16* in, int step, f32x16* out, int out_step) {
        input_1d(in, step, out, out_step);
      });
}

// d[place][tile][k]: H dy H^T.
template <class T>
void transform_gradient(const Map<T>& dy,
                        const Tiling& tiling,
                        std::int64_t first,
                        int count,
                        float* d,
                        std::int64_t place_step) {
  transform_tiles<kOut>(
      dy, tiling, 0, first, count, d, place_step, [](const f32x16* in, int step, f32x16* out, int out_step) {
        gradient_1d(in, step, out, out_step);
      });
}

// finish(at, n, lanes, value) for every output of the tiles: A^T m A, for m[place][tile][n] with places
// `place_step` apart.
template <class Finish>
void transform_output(const Tiling& tiling,
                      int out_h,
                      int out_w,
                      int cols,
                      std::int64_t first,
                      int count,
                      const float* m,
                      std::int64_t place_step,
                      Finish finish) {
  TileWalk at(tiling, first);
  for (int i = 0; i < count; ++i, at.next()) {
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

}  // namespace offramp::cpu::winograd
