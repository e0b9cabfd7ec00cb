// A folder of pictures as people have them: several sizes and shapes, JPEG (grey, colour, CMYK), PNG (colour, palette, with
// alpha) and PPM. Includers link libpng and libjpeg.
#pragma once

#include <jpeglib.h>
#include <png.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/temp_folder.h"

namespace offramp::test {

// width x height RGB pixels; class 0: the left half is bright, 1: the upper half, 2: the middle.
inline std::vector<std::uint8_t> drawn(int label, int width, int height, int variant) {
  std::vector<std::uint8_t> out;
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const bool middle = 4 * x > width && 4 * x < 3 * width && 4 * y > height && 4 * y < 3 * height;
      const bool bright = label == 0 ? 2 * x < width : label == 1 ? 2 * y < height : middle;
      for (int c = 0; c < 3; ++c)
        out.push_back(
            static_cast<std::uint8_t>((bright ? 190 : 60) + (x * 7 + y * 13 + c * 5 + variant * 29) % 40));
    }
  return out;
}

// colours: 1 grey, 3 RGB, 4 CMYK, of `pixels` in RGB.
inline void write_jpeg(const std::filesystem::path& path,
                       const std::vector<std::uint8_t>& pixels,
                       int width,
                       int height,
                       int colours) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = colours;
  info.in_color_space = colours == 1 ? JCS_GRAYSCALE : colours == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 95, TRUE);
  jpeg_start_compress(&info, TRUE);
  for (int y = 0; y < height; ++y) {
    std::vector<std::uint8_t> row;
    for (int x = 0; x < width; ++x) {
      const std::uint8_t* rgb = &pixels[static_cast<std::size_t>(3 * (y * width + x))];
      // Adobe's programs write ink complemented, and libjpeg marks four colours as theirs: no black, so C = R and so on.
      if (colours == 1) row.push_back(rgb[1]);
      if (colours >= 3) row.insert(row.end(), rgb, rgb + 3);
      if (colours == 4) row.push_back(255);
    }
    JSAMPROW line = row.data();
    jpeg_write_scanlines(&info, &line, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  write_text(path, std::string(reinterpret_cast<const char*>(buffer), size));
  std::free(buffer);
}

enum class PngKind { kColour, kAlpha, kPalette };

inline void write_png(const std::filesystem::path& path,
                      const std::vector<std::uint8_t>& pixels,
                      int width,
                      int height,
                      PngKind kind) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  std::vector<std::uint8_t> bytes, map;
  if (kind == PngKind::kColour) {
    image.format = PNG_FORMAT_RGB;
    bytes = pixels;
  } else if (kind == PngKind::kAlpha) {
    image.format = PNG_FORMAT_RGBA;
    for (std::size_t i = 0; i < pixels.size(); i += 3) {
      bytes.insert(bytes.end(), &pixels[i], &pixels[i] + 3);
      bytes.push_back(200);
    }
  } else {
    image.format = PNG_FORMAT_RGB_COLORMAP;
    image.colormap_entries = 256;
    for (int v = 0; v < 256; ++v) map.insert(map.end(), 3, static_cast<std::uint8_t>(v));
    for (std::size_t i = 0; i < pixels.size(); i += 3) bytes.push_back(pixels[i + 1]);
  }
  if (png_image_write_to_file(&image, path.c_str(), 0, bytes.data(), 0, map.data()) == 0)
    throw std::runtime_error(std::string("write_png: ") + image.message);
}

// FOLDER/{left,top,middle}/ with `per_class` pictures each of every kind in turn, in four sizes.
inline void write_mixed_pictures(const std::filesystem::path& folder, int per_class) {
  constexpr std::array<std::array<int, 2>, 4> kSizes = {{{40, 40}, {64, 48}, {28, 28}, {50, 75}}};
  const std::array<std::string, 3> names = {"left", "top", "middle"};
  for (int label = 0; label < 3; ++label) {
    const auto place = folder / names[static_cast<std::size_t>(label)];
    std::filesystem::create_directories(place);
    for (int i = 0; i < per_class; ++i) {
      const auto [width, height] = kSizes[static_cast<std::size_t>(i / 7 + i) % kSizes.size()];
      const auto pixels = drawn(label, width, height, i);
      const std::string name = std::to_string(i);
      if (i % 7 < 3) {
        constexpr PngKind kKinds[] = {PngKind::kColour, PngKind::kAlpha, PngKind::kPalette};
        write_png(place / (name + ".png"), pixels, width, height, kKinds[i % 7]);
      } else if (i % 7 < 6) {
        constexpr int kColours[] = {1, 3, 4};
        write_jpeg(place / (name + ".jpg"), pixels, width, height, kColours[i % 7 - 3]);
      } else {
        write_text(place / (name + ".ppm"),
                   "P6\n" + std::to_string(width) + " " + std::to_string(height) + "\n255\n" +
                       std::string(pixels.begin(), pixels.end()));
      }
    }
  }
}

}  // namespace offramp::test
