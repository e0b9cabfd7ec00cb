#pragma once
// The input of a correlation, group by group, where its tiles can be read (conv2d_tiles_forward.h). Three forms of one
// interface: in place for 1x1; planes, where 16 outputs in a row are a tile; the copies of conv2d_tiles_layout.h for
// narrower maps.
#include "kernels/cpu/conv2d_tiles_forward.h"

namespace offramp::cpu::tiles {
inline namespace OFFRAMP_SIMD_NAMESPACE {

// About how many pixels to pack at a time, of `bytes` each: half a second-level cache's less the weights'.
inline int pixels_of_a_group(std::int64_t share, std::int64_t bytes) {
  constexpr std::int64_t kBytes = 512 * 1024, kPixels = 512;
  return static_cast<int>(std::clamp<std::int64_t>(std::min(share, kBytes / bytes), kTileDepth, kPixels));
}

// 1x1: x itself. A line of 16 channels is a pixel and its neighbour, which meets weights of zero.
class InPlace {
 public:
  static bool fits(const Conv2dGeom& g) {
    if (g.r != 1 || g.s != 1 || g.pad != 0) return false;
    const bool whole_rows = g.stride == 1 || g.out_w() % kTileSide == 0;
    const bool lines = g.c == kTileSide ? (g.out_w() - 1) * g.stride + 1 < g.w : g.c <= 256;
    return whole_rows && lines;
  }
  InPlace(const Conv2dGeom& g, std::int64_t share)
      : g_(g), lines_(g), pixels_(pixels_of_a_group(share, std::int64_t{2} * g.c) / kTileSide * kTileSide) {}

  const Lines& lines() const { return lines_; }
  int groups() const { return static_cast<int>((outputs() + pixels_ - 1) / pixels_); }
  int tiles() const { return pixels_ / kTileSide; }
  std::int64_t values() const { return std::int64_t{kTileSide} * g_.c; }  // of a tile that x ends within
  std::ptrdiff_t stride() const { return std::ptrdiff_t{g_.stride} * g_.c * 2; }
  std::int64_t offset(int, int, int block) const { return block * kTileDepth; }

  void pack(const bf16* x, int group, bf16* to, PixelTiles& tiles) const {
    const std::int64_t begin = std::int64_t{group} * pixels_, end = std::min(outputs(), begin + pixels_);
    tiles.count = 0;
    for (std::int64_t at = begin; at < end; at += kTileSide) {
      const std::int64_t row = at / g_.out_w(), column = at % g_.out_w();
      const std::int64_t image = row / g_.out_h(), i = row % g_.out_h();
      const std::int64_t pixel =
          g_.stride == 1 ? at : (image * g_.h + i * g_.stride) * g_.w + column * g_.stride;
      const bf16* place = x + pixel * g_.c;
      const auto count = static_cast<int>(std::min<std::int64_t>(kTileSide, end - at));
      if (count < kTileSide) {
        const std::int64_t there = std::int64_t{count} * g_.c;
        std::fill(std::copy_n(place, there, to), to + values(), bf16{});
        place = to;
      }
      tiles.add(place, at, count);
    }
  }

 private:
  std::int64_t outputs() const { return std::int64_t{g_.n} * g_.out_h() * g_.out_w(); }
  Conv2dGeom g_;
  Lines lines_;
  int pixels_;
};

// Output rows of a multiple of 16 pixels: the rows under a band of one image, with their padding, once for each 32 channels.
// A tap is an offset, and the outputs' stride the distance of a tile's pixels. Where a line is two taps, the line of a pixel is
// the pixel and its right neighbour; behind the filter's last column that neighbour meets weights of zero.
class Planes {
 public:
  static bool fits(const Conv2dGeom& g) { return g.out_w() % kTileSide == 0; }
  Planes(const Conv2dGeom& g, std::int64_t share)
      : g_(g),
        lines_(g),
        rows_(std::clamp(pixels_of_a_group(share, std::int64_t{2} * g.c) / g.out_w(), 1, g.out_h())),
        bands_((g.out_h() + rows_ - 1) / rows_),
        pitch_((g.out_w() - 1) * g.stride + lines_.columns * lines_.taps),
        plane_(std::int64_t{(rows_ - 1) * g.stride + g.r} * pitch_ * kTileDepth) {}

  const Lines& lines() const { return lines_; }
  int groups() const { return g_.n * bands_; }
  int tiles() const { return rows_ * (g_.out_w() / kTileSide); }  // of a group
  std::int64_t values() const { return lines_.blocks * plane_; }  // of a group
  std::ptrdiff_t stride() const { return std::ptrdiff_t{g_.stride} * kTileDepth * 2; }
  std::int64_t offset(int r, int column, int block) const {
    return block * plane_ + (std::int64_t{r} * pitch_ + column * lines_.taps) * kTileDepth;
  }

  void pack(const bf16* x, int group, bf16* to, PixelTiles& tiles) const {
    const int image = group / bands_, first = group % bands_ * rows_,
              rows = std::min(rows_, g_.out_h() - first);
    for (int block = 0; block < lines_.blocks; ++block) {
      bf16* row = to + block * plane_;
      for (int i = 0; i < (rows - 1) * g_.stride + g_.r; ++i, row += pitch_ * kTileDepth) {
        const int at = first * g_.stride + i - g_.pad;
        const bool inside = at >= 0 && at < g_.h;
        pack_row(inside ? x + (std::int64_t{image} * g_.h + at) * g_.w * g_.c + block * kTileDepth : nullptr,
                 row);
      }
    }
    tiles.count = 0;
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < g_.out_w(); j += kTileSide) {
        tiles.add(to + (std::int64_t{i} * g_.stride * pitch_ + j * g_.stride) * kTileDepth,
                  (std::int64_t{image} * g_.out_h() + first + i) * g_.out_w() + j,
                  kTileSide);
      }
    }
  }

 private:
  // The lines of the input columns -pad .. pitch - pad - 1 of a row (null: outside).
  void pack_row(const bf16* from, bf16* to) const {
    const auto blank = [&](int begin, int end) {
      if (begin < end) std::fill(to + begin * kTileDepth, to + end * kTileDepth, bf16{});
    };
    if (from == nullptr) return blank(0, pitch_);
    // Where lines are two taps, the last pixel's has no neighbour, and the line before the first is half.
    const int begin = std::min(pitch_, g_.pad),
              end = std::clamp(g_.w + g_.pad - (lines_.taps - 1), begin, pitch_);
    blank(0, begin);
    for (int column = begin; column < end; ++column)
      copy_line(from + std::int64_t{column - g_.pad} * g_.c, to + column * kTileDepth);
    blank(end, pitch_);
    if (lines_.taps == 1) return;
    if (begin > 0) copy_half(from, to + (begin - 1) * kTileDepth + kTileSide);
    if (end < pitch_ && end - g_.pad < g_.w)
      copy_half(from + std::int64_t{end - g_.pad} * g_.c, to + end * kTileDepth);
  }

  Conv2dGeom g_;
  Lines lines_;
  int rows_, bands_, pitch_;
  std::int64_t plane_;
};

// The copies of conv2d_tiles_layout.h; outputs of a unit are a run of pixels, rows and images without gaps.
class Copies {
 public:
  static bool fits(const Conv2dGeom& g) { return g.c % kTileDepth == 0; }
  Copies(const Conv2dGeom& g, std::int64_t share)
      : l_(g,
           pixels_of_a_group(share, std::int64_t{2} * g.c * g.s * (TileLayout::is_flat(g) ? g.r : 1)),
           false),
        lines_(g) {}

  const Lines& lines() const { return lines_; }
  int groups() const { return (l_.units(l_.g.n) + l_.group - 1) / l_.group; }
  int tiles() const { return l_.group * l_.pixels / kTileSide; }
  std::int64_t values() const { return std::int64_t{l_.row_copies} * l_.g.s * lines_.blocks * block(); }
  std::ptrdiff_t stride() const { return kTileDepth * 2; }
  std::int64_t offset(int r, int s, int block_of_channels) const {
    return (std::int64_t{l_.copy_of(r, s, l_.g.s)} * lines_.blocks + block_of_channels) * block() +
           std::int64_t{l_.shift_of(r)} * kTileDepth;
  }

  void pack(const bf16* x, int group, bf16* to, PixelTiles& tiles) const {
    const Conv2dGeom& g = l_.g;
    const int first = group * l_.group, units = std::min(l_.group, l_.units(g.n) - first);
    pack_input<LinesOfPixels>(l_, x, g.n, first, units, 0, g.c, to);
    const int map = g.out_h() * g.out_w();
    tiles.count = 0;
    for (int u = first; u < first + units; ++u) {
      const std::int64_t image = l_.unit_image(u), begin = image * map + l_.unit_row(u) * g.out_w();
      const std::int64_t end = std::min(begin + (l_.flat ? l_.images * map : l_.rows * l_.pitch),
                                        (l_.flat ? std::int64_t{g.n} : image + 1) * map);
      for (std::int64_t at = begin; at < end; at += kTileSide) {
        tiles.add(to + (std::int64_t{u - first} * l_.padded + (at - begin)) * kTileDepth,
                  at,
                  static_cast<int>(std::min<std::int64_t>(kTileSide, end - at)));
      }
    }
  }

 private:
  std::int64_t block() const { return std::int64_t{l_.group} * l_.padded * kTileDepth; }
  TileLayout l_;
  Lines lines_;
};

}  // namespace OFFRAMP_SIMD_NAMESPACE
}  // namespace offramp::cpu::tiles
