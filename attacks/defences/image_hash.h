// Perceptual hashes of pictures, as the library ImageHash defines them (specs/membership.md 7): near-duplicates share
// one by design. Bit for bit those of ImageHash over Pillow.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace offramp::attacks {

// 8-bit pixels, row by row, channels together.
struct Picture {
  int height = 0, width = 0, channels = 0;  // channels: 1 grey or 3 red, green, blue
  std::vector<std::uint8_t> pixels;
};

// One image of [1,c,h,w] float32 in [0,1]; 255 x rounded to the nearest. ShapeError: not one image of 1 or 3 channels.
Picture picture_of(const Tensor& image);
// As the published code of TimeGuard makes its picture: 255 x truncated, and the numbers in channel, row, column order
// read as if they were in row, column, channel order. The same for grey images.
Picture picture_as_published(const Tensor& image);

// (299 R + 587 G + 114 B) / 1000 in the fixed-point form of Pillow.
std::vector<std::uint8_t> grey_pixels(const Picture& picture);
// A grey picture resized to side x side: Lanczos of order 3, widened where it shrinks, Pillow's fixed-point arithmetic.
std::vector<std::uint8_t> resized_grey(std::span<const std::uint8_t> grey, int height, int width, int side);

// Grey, 32 x 32, DCT-II, the 8 x 8 lowest frequencies against their median; first bit highest.
std::uint64_t perceptual_hash(const Picture& picture);
// Grey, 8 x 8, pixels against their mean.
std::uint64_t average_hash(const Picture& picture);
std::string hex_of(std::uint64_t hash);  // 16 digits

}  // namespace offramp::attacks
