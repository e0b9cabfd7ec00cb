#pragma once
// How the pixels of a convolution stand for the tile unit: the input in one copy for each column s of the filter (and each
// row where the stride skips rows), with zeros outside the image, so that the pixels under all outputs of a run at one tap
// are one piece of memory. Rows of the filter are offsets into a copy. A group of pixels that the second-level cache holds
// is packed at a time.
#include <algorithm>

#include "kernels/conv2d.h"
#include "kernels/cpu/tiles_pack.h"

namespace offramp::cpu::tiles {
inline namespace OFFRAMP_SIMD_NAMESPACE {

// A unit is a band of output rows of one image, `pitch` pixels apart: the width, made even where pixels go in pairs. Maps of
// less than a tile's pixels are flat: a unit is several images one behind the other, and there is a copy for each tap.
struct TileLayout {
  Conv2dGeom g;
  bool flat;
  int pitch, rows;  // of a band
  int bands;        // of an image
  int images;       // of a unit, where flat
  int pixels;       // of a unit: a multiple of 32
  int row_copies;   // copies by row
  int shift;        // pixels between filter rows of one copy
  int padded;       // pixels of a unit in a copy
  int group;        // units packed at a time

  static bool is_flat(const Conv2dGeom& g) { return g.out_h() * g.out_w() < kTileDepth; }

  // `wanted`: about how many pixels to pack at a time.
  TileLayout(const Conv2dGeom& geom, int wanted, bool pairs) : g(geom) {
    const int map = g.out_h() * g.out_w();
    flat = is_flat(g);
    pitch = pairs ? (g.out_w() + 1) / 2 * 2 : g.out_w();
    rows = flat ? g.out_h() : std::clamp(wanted / pitch, 1, g.out_h());
    bands = (g.out_h() + rows - 1) / rows;
    images = flat ? std::clamp(wanted / map, 1, std::max(1, g.n)) : 1;
    pixels = ((flat ? images * map : rows * pitch) + kTileDepth - 1) / kTileDepth * kTileDepth;
    row_copies = flat ? g.r : std::min(g.stride, g.r);
    shift = flat ? 0 : pitch;
    padded = pixels + (g.r - 1) / row_copies * shift;
    group = std::max(1, wanted / pixels);
  }
  int units(std::int64_t of_images) const {
    return static_cast<int>(flat ? (of_images + images - 1) / images : of_images * bands);
  }
  std::int64_t unit_image(int unit) const { return flat ? std::int64_t{unit} * images : unit / bands; }
  int unit_row(int unit) const { return flat ? 0 : unit % bands * rows; }
  // The tap (r, s) in its copy: which, and how many pixels on.
  int copy_of(int r, int s, int copies_of_a_row) const { return r % row_copies * copies_of_a_row + s; }
  int shift_of(int r) const { return r / row_copies * shift; }
};

// Two pixels at a time, as pairs of 16 channels.
struct PairsOfPixels {
  static constexpr int kTogether = 2, kValues = 16;  // values of a pixel
  OFFRAMP_SIMD_FN static void put(const bf16* even, const bf16* odd, bf16* to) { interleave(even, odd, to); }
};
// Pixels of 32 channels, one behind the other.
struct LinesOfPixels {
  static constexpr int kTogether = 1, kValues = 32;
  OFFRAMP_SIMD_FN static void put(const bf16* pixel, const bf16*, bf16* to) { copy_line(pixel, to); }
};

alignas(64) inline constexpr bf16 kZeroPixel[kTileDepth] = {};

// For each output column of a row the pixel of input row `from` (null: outside) at tap column s.
template <class Pixels>
void pack_row(const TileLayout& l, const bf16* from, int s, bf16* to) {
  constexpr int kValues = Pixels::kValues;
  const Conv2dGeom& g = l.g;
  if (from == nullptr) {
    std::fill_n(to, l.pitch * kValues, bf16{});
    return;
  }
  const auto pixel = [&](int column) {
    const int at = column * g.stride + s - g.pad;
    return column < g.out_w() && at >= 0 && at < g.w ? from + std::int64_t{at} * g.c : kZeroPixel;
  };
  // Columns first .. last lie inside; of those, whole pairs need no test.
  constexpr int kTogether = Pixels::kTogether;
  const int room = g.w - 1 + g.pad - s, last = room < 0 ? -1 : std::min(g.out_w() - 1, room / g.stride);
  const int first = (std::max(0, g.pad - s) + g.stride - 1) / g.stride;
  const int begin = std::min(l.pitch, (first + kTogether - 1) / kTogether * kTogether);
  const int end = std::max(begin, (last + 1) / kTogether * kTogether);
  const auto test = [&](int column, int until) {
    for (; column < until; column += kTogether)
      Pixels::put(pixel(column), pixel(column + 1), to + column * kValues);
  };
  test(0, begin);
  const std::int64_t step = std::int64_t{g.stride} * g.c;
  const bf16* inside = from + (std::int64_t{begin} * g.stride + s - g.pad) * g.c;
  for (int column = begin; column < end; column += kTogether, inside += kTogether * step)
    Pixels::put(inside, inside + step, to + column * kValues);
  test(end, l.pitch);
}

// The rows of a unit that is a band, in the copy row_copy: row(input row or null, to) writes `values` values a pixel.
template <class Row>
void pack_band(
    const TileLayout& l, const bf16* x, int unit, int c, int row_copy, int values, bf16* to, Row row) {
  const Conv2dGeom& g = l.g;
  const int rows = l.rows + (g.r - 1) / l.row_copies, first = l.unit_row(unit);
  for (int i = 0; i < rows; ++i, to += l.pitch * values) {
    const int at = (first + i) * g.stride + row_copy - g.pad;
    row(at >= 0 && at < g.h ? x + ((l.unit_image(unit) * g.h + at) * g.w) * g.c + c : nullptr, to);
  }
  std::fill_n(to, (l.padded - rows * l.pitch) * values, bf16{});
}

// The pixels of a flat unit at the tap (r, s); those beyond the last image are zero.
template <class Pixels>
void pack_flat(
    const TileLayout& l, const bf16* x, std::int64_t of_images, int unit, int c, int r, int s, bf16* to) {
  const Conv2dGeom& g = l.g;
  const std::int64_t first = l.unit_image(unit);
  const int w = g.out_w(), h = g.out_h(),
            images = static_cast<int>(std::min<std::int64_t>(l.images, of_images - first));
  const bf16* pixels[2] = {kZeroPixel, kZeroPixel};
  int image = 0, row = 0, column = 0;
  for (int p = 0; p < l.pixels; ++p) {
    const int at_row = row * g.stride + r - g.pad, at = column * g.stride + s - g.pad;
    const bool inside = image < images && at_row >= 0 && at_row < g.h && at >= 0 && at < g.w;
    pixels[p & 1] = inside ? x + (((first + image) * g.h + at_row) * g.w + at) * g.c + c : kZeroPixel;
    if (Pixels::kTogether == 1) {
      Pixels::put(pixels[p & 1], nullptr, to + p * Pixels::kValues);
    } else if ((p & 1) != 0) {
      Pixels::put(pixels[0], pixels[1], to + (p - 1) * Pixels::kValues);
    }
    if (++column == w) {
      column = 0;
      if (++row == h) row = 0, ++image;
    }
  }
}

// The input of `units` units, Pixels::kValues channels at a time from c0 to c1: [copy][channels][unit of the group][pixel].
template <class Pixels>
void pack_input(const TileLayout& l,
                const bf16* x,
                std::int64_t of_images,
                int first,
                int units,
                int c0,
                int c1,
                bf16* to) {
  constexpr int kValues = Pixels::kValues;
  for (int row_copy = 0; row_copy < l.row_copies; ++row_copy) {
    for (int s = 0; s < l.g.s; ++s) {
      for (int c = c0; c < c1; c += kValues, to += std::int64_t{l.group} * l.padded * kValues) {
        for (int u = 0; u < units; ++u) {
          bf16* unit = to + std::int64_t{u} * l.padded * kValues;
          if (l.flat) {
            pack_flat<Pixels>(l, x, of_images, first + u, c, row_copy, s, unit);
          } else {
            pack_band(l, x, first + u, c, row_copy, kValues, unit, [&](const bf16* from, bf16* row) {
              pack_row<Pixels>(l, from, s, row);
            });
          }
        }
      }
    }
  }
}

}  // namespace OFFRAMP_SIMD_NAMESPACE
}  // namespace offramp::cpu::tiles
