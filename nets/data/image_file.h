#pragma once
// One picture from memory: JPEG, PNG, PPM/PGM (P6, P5), told apart by their first bytes. Strict: a warning of
// libjpeg or libpng about lost data is an error here. Also the PNG writer that contact sheets and tests
// use.
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace offramp::data {

struct Picture {
  int h = 0, w = 0, c = 0;                // c: 1 grey, 3 RGB
  std::vector<std::uint8_t> pixels = {};  // [h,w,c]
  int warnings = 0;  // of the codec about things that cost no pixel (stray bytes before the end of a JPEG)
};

// Throws DataError with path and byte offset. PNG: palettes are expanded, 16 bits cut to 8, alpha dropped.
// JPEG: CMYK becomes RGB. `path` is for messages.
Picture decode_picture(std::span<const std::uint8_t> bytes, const std::filesystem::path& path);
Picture read_picture(const std::filesystem::path& path);
// Grey is copied to three channels; RGB is returned as it is.
Picture to_rgb(Picture picture);

std::vector<std::uint8_t> encode_png(const Picture& picture);
std::vector<std::uint8_t> encode_jpeg(const Picture& picture, int quality);  // 4:4:4

bool is_picture_name(const std::filesystem::path& path);  // jpg jpeg png ppm pgm, any case

}  // namespace offramp::data
