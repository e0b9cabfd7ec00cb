#pragma once
// Correlations on the tile unit: the forward of a convolution, and its input gradient, which is the correlation of dy with
// the turned filter. a: 16 pixels x 32 values (a line of a pixel), where conv2d_tiles_planes.h puts them; b: packed weights,
// 32 values x 16 outputs. Each output is one chain of products in the order of the lines, whatever stands beside it.
#include <utility>

#include "kernels/cpu/conv2d_tiles_layout.h"

namespace offramp::cpu::tiles {
inline namespace OFFRAMP_SIMD_NAMESPACE {

// A line is 32 channels of a tap; where there are 16 it is two neighbouring taps of a filter row.
struct Lines {
  int taps;     // of a line, 1 or 2
  int columns;  // lines across the filter
  int blocks;   // lines for the channels
  int count;

  explicit Lines(const Conv2dGeom& g)
      : taps(g.c == kTileSide ? 2 : 1),
        columns((g.s + taps - 1) / taps),
        blocks(taps == 2 ? 1 : g.c / kTileDepth),
        count(g.r * columns * blocks) {}
};

inline std::int64_t packed_weight_values(const Conv2dGeom& g) {
  return std::int64_t{g.k / kTileSide} * Lines(g).count * kTileValues;
}

// The tile of one line for 16 outputs: weights(row, tap, to) writes what output `row` has of that tap: 32 or 16 values.
template <class Weights>
void pack_tile(const Lines& lines, int columns_of_filter, int s, Weights weights, bf16* to) {
  alignas(64) bf16 rows[kTileSide][kTileDepth];
  for (int n = 0; n < kTileSide; ++n) {
    for (int t = 0; t < lines.taps; ++t) {
      bf16* half = rows[n] + t * kTileSide;
      if (s + t < columns_of_filter) {
        weights(n, s + t, half);
      } else {
        std::fill_n(half, kTileSide, bf16{});
      }
    }
  }
  transpose_pairs(rows[0], to);
}

OFFRAMP_SIMD_FN void round_16(const float* from, bf16* to) { store(to, load(from)); }

// Blocks of 16 outputs begin .. end - 1 of the forward's weights, w [k, r, s, c].
inline void pack_forward(const Conv2dGeom& g, const float* w, int begin, int end, bf16* to) {
  const Lines lines(g);
  const std::int64_t filter = std::int64_t{g.r} * g.s * g.c;
  to += std::int64_t{begin} * lines.count * kTileValues;
  for (int block = begin; block < end; ++block) {
    const float* filters = w + block * kTileSide * filter;
    for (int r = 0; r < g.r; ++r) {
      for (int column = 0; column < lines.columns; ++column) {
        for (int b = 0; b < lines.blocks; ++b, to += kTileValues) {
          const auto weights = [&](int n, int s, bf16* half) {
            const float* from = filters + n * filter + (std::int64_t{r} * g.s + s) * g.c + b * kTileDepth;
            round_16(from, half);
            if (lines.taps == 1) round_16(from + kTileSide, half + kTileSide);
          };
          pack_tile(lines, g.s, column * lines.taps, weights, to);
        }
      }
    }
  }
}

// The same for the input gradient of g, a correlation `of` whose inputs are g's filters: turned weights.
inline void pack_turned(const Conv2dGeom& of, const float* w, int begin, int end, bf16* to) {
  const Lines lines(of);
  const std::int64_t filter = std::int64_t{of.r} * of.s * of.k;
  to += std::int64_t{begin} * lines.count * kTileValues;
  for (int block = begin; block < end; ++block) {
    for (int r = 0; r < of.r; ++r) {
      for (int column = 0; column < lines.columns; ++column) {
        for (int b = 0; b < lines.blocks; ++b, to += kTileValues) {
          // Pair by pair: two filters, 16 channels each.
          for (int pair = 0; pair < kTileSide; ++pair) {
            alignas(64) bf16 both[2][kTileSide];
            for (int i = 0; i < 2; ++i) {
              const int value = 2 * pair + i,
                        s = column * lines.taps + (lines.taps == 2 ? value / kTileSide : 0);
              const int k = lines.taps == 2 ? value % kTileSide : b * kTileDepth + value;
              if (s >= of.s) {
                std::fill_n(both[i], kTileSide, bf16{});
                continue;
              }
              const std::int64_t tap = std::int64_t{of.r - 1 - r} * of.s + (of.s - 1 - s);
              round_16(w + k * filter + tap * of.k + block * kTileSide, both[i]);
            }
            interleave(both[0], both[1], to + pair * kTileDepth);
          }
        }
      }
    }
  }
}

// Sums of kPixels tiles of pixels and kOutputs blocks of outputs, 16 x 16 each, to `sums`. a[p] is the place of a tile in the
// packed input, to which a line's offset is added; b the first block's weights, the next `panel` values further.
template <int kPixels, int kOutputs, class Unit, std::size_t... P, std::size_t... K>
OFFRAMP_SIMD_FN void multiply_lines(Unit& unit,
                                    const std::int64_t* offsets,
                                    int lines,
                                    const bf16* const* a,
                                    const bf16* b,
                                    std::int64_t panel,
                                    std::ptrdiff_t stride,
                                    float* sums,
                                    std::index_sequence<P...>,
                                    std::index_sequence<K...>) {
  static_assert(kPixels * kOutputs <= 4);
  (unit.template zero<static_cast<int>(P)>(), ...);  // 0 .. kPixels * kOutputs - 1
  const bf16* places[kPixels];
  for (int p = 0; p < kPixels; ++p) places[p] = a[p];
  for (int line = 0; line < lines; ++line, b += kTileValues) {
    const std::int64_t at = offsets[line];
    if constexpr (kPixels >= kOutputs) {
      constexpr int kFirst = 4 + kOutputs,
                    kFree = 4 - kOutputs;  // the outputs' tiles stay, the pixels' take turns
      (unit.template load<4 + static_cast<int>(K)>(b + static_cast<int>(K) * panel, 64), ...);
      const auto pixel = [&]<int kPixel>(std::integral_constant<int, kPixel>) __attribute__((always_inline)) {
        constexpr int kTile = kFirst + kPixel % kFree;
        unit.template load<kTile>(places[kPixel] + at, stride);
        (unit.template multiply<kPixel * kOutputs + static_cast<int>(K), kTile, 4 + static_cast<int>(K)>(),
         ...);
      };
      [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
        (pixel(std::integral_constant<int, I>{}), ...);
      }
      (std::make_integer_sequence<int, kPixels>());
    } else {
      static_assert(kPixels == 1);
      unit.template load<4>(places[0] + at, stride);
      ((unit.template load<5 + static_cast<int>(K) % 3>(b + static_cast<int>(K) * panel, 64),
        unit.template multiply<static_cast<int>(K), 4, 5 + static_cast<int>(K) % 3>()),
       ...);
    }
  }
  (unit.template store<static_cast<int>(P)>(sums + static_cast<int>(P) * kTileSide * kTileSide, 64), ...);
}

// A packed group of pixels: its tiles, each 16 pixels that stand `stride` bytes apart and belong to `count` outputs in a row.
struct PixelTiles {
  struct Tile {
    std::int64_t output;  // the first, a pixel of y
    int count;
  };
  const std::int64_t* offsets;  // of the lines
  int lines;
  std::ptrdiff_t stride;
  const bf16** places;
  Tile* tiles;
  int count;
  void add(const bf16* place, std::int64_t output, int pixels) {
    places[count] = place;
    tiles[count++] = {output, pixels};
  }
};

// The blocks begin .. end - 1 of outputs, of `cols` channels: finish(at, channel, sums) takes 16 at a time.
template <class Unit, class Finish>
void correlate_tiles(Unit& unit,
                     const PixelTiles& of,
                     const bf16* packed,
                     int begin,
                     int end,
                     std::int64_t cols,
                     Finish finish) {
  alignas(64) float sums[4 * kTileSide * kTileSide];
  const std::int64_t panel = std::int64_t{of.lines} * kTileValues;
  const auto run = [&]<int kPixels, int kOutputs>(int tile, int block) {
    multiply_lines<kPixels, kOutputs>(unit,
                                      of.offsets,
                                      of.lines,
                                      of.places + tile,
                                      packed + block * panel,
                                      panel,
                                      of.stride,
                                      sums,
                                      std::make_index_sequence<kPixels * kOutputs>(),
                                      std::make_index_sequence<kOutputs>());
    for (int p = 0; p < kPixels; ++p) {
      const PixelTiles::Tile& pixels = of.tiles[tile + p];
      for (int k = 0; k < kOutputs; ++k) {
        const float* from = sums + (p * kOutputs + k) * kTileSide * kTileSide;
        const int channel = (block + k) * kTileSide;
        std::int64_t at = pixels.output * cols + channel;
        for (int i = 0; i < pixels.count; ++i, at += cols, from += kTileSide) finish(at, channel, load(from));
      }
    }
  };
  for (int block = begin; block < end;) {
    int tile = 0;
    if (of.count == 1 && end - block >= 4) {
      run.template operator()<1, 4>(0, block);
      block += 4;
    } else if (end - block >= 2) {
      for (; tile + 2 <= of.count; tile += 2) run.template operator()<2, 2>(tile, block);
      if (tile < of.count) run.template operator()<1, 2>(tile, block);
      block += 2;
    } else {
      for (; tile + 4 <= of.count; tile += 4) run.template operator()<4, 1>(tile, block);
      for (; tile < of.count; ++tile) run.template operator()<1, 1>(tile, block);
      ++block;
    }
  }
}

}  // namespace OFFRAMP_SIMD_NAMESPACE
}  // namespace offramp::cpu::tiles
