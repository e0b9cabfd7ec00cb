// libpng with its read and write functions on memory; errors jump back here and are thrown as DataError.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <string>

#include "nets/data/data_error.h"
#include "nets/data/picture_codecs.h"

namespace offramp::data {
namespace {

struct PngSource {
  std::span<const std::uint8_t> bytes;
  std::size_t at = 0;
  char text[256] = "";
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* source = static_cast<PngSource*>(png_get_error_ptr(png));
  std::strncpy(source->text, message, sizeof source->text - 1);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {
}  // colour profile remarks; damaged data is an error in libpng

void read_bytes(png_structp png, png_bytep to, std::size_t count) {
  auto* source = static_cast<PngSource*>(png_get_io_ptr(png));
  if (source->bytes.size() - source->at < count) png_error(png, "expected more data, the file is truncated");
  std::copy_n(source->bytes.data() + source->at, count, to);
  source->at += count;
}

void write_bytes(png_structp png, png_bytep from, std::size_t count) {
  auto* out = static_cast<std::vector<std::uint8_t>*>(png_get_io_ptr(png));
  out->insert(out->end(), from, from + count);
}

void flush_nothing(png_structp) {}

// All objects with destructors live in the caller, so that the jump crosses none.
bool decode_into(PngSource& source, Picture& out, std::vector<png_bytep>& rows) {
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, on_error, on_warning);
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  if (info == nullptr) {
    png_destroy_read_struct(&png, nullptr, nullptr);
    return false;
  }
  if (setjmp(png_jmpbuf(png)) != 0) {
    png_destroy_read_struct(&png, &info, nullptr);
    return false;
  }
  png_set_read_fn(png, &source, read_bytes);
  png_set_user_limits(png, 1 << 16, 1 << 16);
  png_read_info(png, info);
  if (static_cast<std::size_t>(png_get_image_height(png, info)) * png_get_image_width(png, info) >
      kMaxPicturePixels)
    png_error(png, "the picture has more than 2^26 pixels");
  // Deflate cannot shrink below 1/1032.
  if (static_cast<std::size_t>(png_get_image_height(png, info)) * png_get_rowbytes(png, info) / 1032 >
      source.bytes.size())
    png_error(png, "the picture has more pixels than the file can hold");
  png_set_expand(png);
  png_set_scale_16(png);
  png_set_strip_alpha(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  out.h = static_cast<int>(png_get_image_height(png, info));
  out.w = static_cast<int>(png_get_image_width(png, info));
  out.c = png_get_channels(png, info);
  const std::size_t row_bytes = png_get_rowbytes(png, info);
  out.pixels.resize(static_cast<std::size_t>(out.h) * row_bytes);
  rows.resize(static_cast<std::size_t>(out.h));
  for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = out.pixels.data() + y * row_bytes;
  png_read_image(png, rows.data());
  png_read_end(png, nullptr);
  png_destroy_read_struct(&png, &info, nullptr);
  return true;
}

}  // namespace

Picture decode_png(std::span<const std::uint8_t> bytes, const std::filesystem::path& path) {
  Picture out;
  std::vector<png_bytep> rows;
  PngSource source{.bytes = bytes};
  if (!decode_into(source, out, rows))
    fail_at_byte("png", source.text[0] != '\0' ? source.text : "libpng could not start", path, source.at);
  return out;
}

std::vector<std::uint8_t> encode_png(const Picture& picture) {
  std::vector<std::uint8_t> out;
  PngSource failure;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &failure, on_error, on_warning);
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  if (info == nullptr) {
    png_destroy_write_struct(&png, nullptr);
    throw DataError("png: libpng could not start");
  }
  if (setjmp(png_jmpbuf(png)) != 0) {
    png_destroy_write_struct(&png, &info);
    throw DataError(std::string("png: ") + failure.text);
  }
  png_set_write_fn(png, &out, write_bytes, flush_nothing);
  png_set_IHDR(png,
               info,
               static_cast<png_uint_32>(picture.w),
               static_cast<png_uint_32>(picture.h),
               8,
               picture.c == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
               PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  const std::size_t row_bytes = static_cast<std::size_t>(picture.w) * static_cast<std::size_t>(picture.c);
  for (int y = 0; y < picture.h; ++y)
    png_write_row(png, picture.pixels.data() + static_cast<std::size_t>(y) * row_bytes);
  png_write_end(png, nullptr);
  png_destroy_write_struct(&png, &info);
  return out;
}

}  // namespace offramp::data
