#include "tools/report/png_encode.h"

#include <png.h>

#include <cstring>
#include <string>

#include "tools/report/text.h"

namespace offramp::report {

std::vector<std::uint8_t> encode_png(std::span<const std::uint8_t> pixels, int h, int w, int c) {
  if (h < 1 || w < 1 || (c != 1 && c != 3) ||
      pixels.size() != static_cast<std::size_t>(h) * static_cast<std::size_t>(w * c))
    throw ReportError("png: " + std::to_string(pixels.size()) + " bytes do not make a picture of " +
                      std::to_string(h) + "x" + std::to_string(w) + "x" + std::to_string(c));
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(w);
  image.height = static_cast<png_uint_32>(h);
  image.format = c == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = 0;
  if (png_image_write_to_memory(&image, nullptr, &size, 0, pixels.data(), 0, nullptr) == 0)
    throw ReportError(std::string("png: ") + image.message);
  std::vector<std::uint8_t> out(size);
  if (png_image_write_to_memory(&image, out.data(), &size, 0, pixels.data(), 0, nullptr) == 0)
    throw ReportError(std::string("png: ") + image.message);
  out.resize(size);
  return out;
}

}  // namespace offramp::report
