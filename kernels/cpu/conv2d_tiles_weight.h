#pragma once
// The weight gradient of a convolution on the tile unit: dw[k, r, s, c] = sum over output pixels p of dy[p, k] times
// x[the pixel under p at tap (r, s), c]. a: dy transposed, 16 k x 32 pixels a tile; b: x in pairs of pixels, 16 channels,
// in the copies of conv2d_tiles_layout.h, so that every tile is 1 KB in one piece. A group of pixels is packed, then every
// tap runs over it; the sums stay in dw.
#include <utility>

#include "kernels/cpu/conv2d_tiles_layout.h"

namespace offramp::cpu::tiles {
inline namespace OFFRAMP_SIMD_NAMESPACE {

inline constexpr int kWide = 2;  // blocks of 16 rows and columns that share their loads

// Values of 16 k of a group in a, and of 16 channels of a group in one copy of b.
inline std::int64_t a_block(const TileLayout& l) { return std::int64_t{l.group} * l.pixels * kTileSide; }
inline std::int64_t b_block(const TileLayout& l) { return std::int64_t{l.group} * l.padded * kTileSide; }
inline std::int64_t b_size(const TileLayout& l, int channels) {
  return std::int64_t{l.row_copies} * l.g.s * (channels / kTileSide) * b_block(l);
}

// One contiguous run of images, for the input channels c0 .. c1 - 1.
struct WeightJob {
  const TileLayout* layout;
  const bf16 *x, *dy;  // of the first image
  std::int64_t images;
  int c0, c1;
  bf16* b;  // b_size(*layout, c1 - c0)
  bf16* a;  // space for kWide * a_block, or all of dy packed by pack_gradient
  bool a_is_packed;
  float* dw;  // [k][r][s][c], whole
  bool adds;  // to what dw holds
};

// dy of the units `first` .. `first + units - 1` for 16 k from k0 on: tiles, unit by unit.
inline void pack_gradient(
    const TileLayout& l, const bf16* dy, std::int64_t images, int first, int units, int k0, bf16* to) {
  const int k = l.g.k, w = l.g.out_w(), map = l.g.out_h() * w;
  alignas(64) bf16 stage[kTileValues];
  for (int u = first; u < first + units; ++u) {
    const std::int64_t image = l.unit_image(u);
    const int row = l.unit_row(u);
    const bf16* from = dy + (image * map + std::int64_t{row} * w) * k + k0;
    // Pixels that are there, one behind the other where a row has no gap.
    const bool whole_rows = l.flat || l.pitch == w;
    const std::int64_t there = l.flat ? std::min<std::int64_t>(l.images, images - image) * map
                                      : std::int64_t{std::min(l.rows, l.g.out_h() - row)} * l.pitch;
    for (int p = 0; p < l.pixels; p += kTileDepth, to += kTileValues) {
      if (whole_rows && p + kTileDepth <= there) {
        transpose(from + std::int64_t{p} * k, k, to);
        continue;
      }
      for (int q = 0; q < kTileDepth; ++q) {
        const int at = p + q, column = whole_rows ? 0 : at % l.pitch;
        if (at < there && column < w) {
          const std::int64_t pixel = whole_rows ? at : std::int64_t{at / l.pitch} * w + column;
          std::copy_n(from + pixel * k, kTileSide, stage + q * kTileSide);
        } else {
          std::fill_n(stage + q * kTileSide, kTileSide, bf16{});
        }
      }
      transpose(stage, kTileSide, to);
    }
  }
}

// What the products of a group need: its packed tiles and where the sums are.
struct WeightGroup {
  const TileLayout* l;
  const WeightJob* job;
  int units;
  bool fresh;  // sums begin at zero
  std::ptrdiff_t row_bytes() const { return std::ptrdiff_t{l->g.r} * l->g.s * l->g.c * 4; }
  const bf16* b(int c, int tap) const {
    const int r = tap / l->g.s, copy = l->copy_of(r, tap % l->g.s, l->g.s);
    return job->b +
           (std::int64_t{copy} * ((job->c1 - job->c0) / kTileSide) + (c - job->c0) / kTileSide) *
               b_block(*l) +
           std::int64_t{l->shift_of(r)} * kTileSide;
  }
  float* sums(int k, int tap, int c) const {
    return job->dw + (std::int64_t{k} * l->g.r * l->g.s + tap) * l->g.c + c;
  }
};

// 32 k x 32 c of one tap; `a` has two blocks.
template <class Unit>
OFFRAMP_SIMD_FN void add_wide(Unit& unit, const WeightGroup& of, const bf16* a, int k, int c, int tap) {
  const TileLayout& l = *of.l;
  const std::ptrdiff_t row = of.row_bytes();
  float *s0 = of.sums(k, tap, c), *s1 = s0 + 16, *s2 = of.sums(k + 16, tap, c), *s3 = s2 + 16;
  if (of.fresh) {
    unit.template zero<0>(), unit.template zero<1>(), unit.template zero<2>(), unit.template zero<3>();
  } else {
    unit.template load<0>(s0, row), unit.template load<1>(s1, row);
    unit.template load<2>(s2, row), unit.template load<3>(s3, row);
  }
  const bf16 *a0 = a, *a1 = a + a_block(l), *b0 = of.b(c, tap), *b1 = b0 + b_block(l);
  const std::int64_t gap = std::int64_t{l.padded - l.pixels} * kTileSide;
  const int units = of.units, tiles = l.pixels / kTileDepth;
  for (int u = 0; u < units; ++u, b0 += gap, b1 += gap) {
    for (int t = 0; t < tiles;
         ++t, a0 += kTileValues, a1 += kTileValues, b0 += kTileValues, b1 += kTileValues) {
      unit.template load<4>(a0, 64);
      unit.template load<6>(b0, 64);
      unit.template load<7>(b1, 64);
      unit.template multiply<0, 4, 6>();
      unit.template load<5>(a1, 64);
      unit.template multiply<1, 4, 7>();
      unit.template multiply<2, 5, 6>();
      unit.template multiply<3, 5, 7>();
    }
  }
  unit.template store<0>(s0, row), unit.template store<1>(s1, row);
  unit.template store<2>(s2, row), unit.template store<3>(s3, row);
}

// 16 k x 16 c of kTaps taps that share a.
template <int kTaps, class Unit, std::size_t... I>
OFFRAMP_SIMD_FN void add_taps(
    Unit& unit, const WeightGroup& of, const bf16* a, int k, int c, int tap, std::index_sequence<I...>) {
  static_assert(kTaps <= 6);
  const TileLayout& l = *of.l;
  const std::ptrdiff_t row = of.row_bytes();
  const bf16* b[kTaps];
  for (int t = 0; t < kTaps; ++t) b[t] = of.b(c, tap + t);
  float* sums = of.sums(k, tap, c);
  if (of.fresh) {
    (unit.template zero<I>(), ...);
  } else {
    (unit.template load<I>(sums + static_cast<int>(I) * l.g.c, row), ...);
  }
  const int units = of.units, tiles = l.pixels / kTileDepth;
  std::int64_t at = 0;
  const std::int64_t gap = std::int64_t{l.padded - l.pixels} * kTileSide;
  for (int u = 0; u < units; ++u, at += gap) {
    for (int t = 0; t < tiles; ++t, a += kTileValues, at += kTileValues) {
      unit.template load<6>(a, 64);
      ((unit.template load<7>(b[I] + at, 64), unit.template multiply<I, 6, 7>()), ...);
    }
  }
  (unit.template store<I>(sums + static_cast<int>(I) * l.g.c, row), ...);
}

template <class Unit>
OFFRAMP_SIMD_FN void add_narrow(Unit& unit, const WeightGroup& of, const bf16* a, int k, int c) {
  const int taps = of.l->g.r * of.l->g.s;
  int tap = 0;
  while (tap < taps) {
    const auto some = [&]<std::size_t... I>(std::index_sequence<I...> taps_of)
        __attribute__((always_inline)) {
      add_taps<static_cast<int>(sizeof...(I))>(unit, of, a, k, c, tap, taps_of);
      tap += static_cast<int>(sizeof...(I));
    };
    if (taps - tap >= 6) {
      some(std::make_index_sequence<6>());
    } else if (taps - tap >= 3) {
      some(std::make_index_sequence<3>());
    } else {
      some(std::make_index_sequence<1>());
    }
  }
}

// Channels and filters are multiples of 16.
template <class Unit>
void add_weight_gradient(const WeightJob& job) {
  const TileLayout& l = *job.layout;
  const Conv2dGeom& g = l.g;
  const int units = l.units(job.images), taps = g.r * g.s;
  const bool wide = g.k % 32 == 0 && (job.c1 - job.c0) % 32 == 0;
  const int step = wide ? kWide * kTileSide : kTileSide;
  Unit unit;
  for (int first = 0, index = 0; first < units; first += l.group, ++index) {
    const WeightGroup group{&l, &job, std::min(l.group, units - first), first == 0 && !job.adds};
    pack_input<PairsOfPixels>(l, job.x, job.images, first, group.units, job.c0, job.c1, job.b);
    for (int k = 0; k < g.k; k += step) {
      const bf16* a = job.a;
      if (job.a_is_packed) {
        a += (std::int64_t{index} * (g.k / kTileSide) + k / kTileSide) * a_block(l);
      } else {
        for (int i = 0; i < step; i += kTileSide)
          pack_gradient(l, job.dy, job.images, first, group.units, k + i, job.a + i / kTileSide * a_block(l));
      }
      for (int c = job.c0; c < job.c1; c += step) {
        if (wide) {
          for (int tap = 0; tap < taps; ++tap) add_wide(unit, group, a, k, c, tap);
        } else {
          add_narrow(unit, group, a, k, c);
        }
      }
    }
  }
}

}  // namespace OFFRAMP_SIMD_NAMESPACE
}  // namespace offramp::cpu::tiles
