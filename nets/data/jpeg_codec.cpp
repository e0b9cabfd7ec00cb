// libjpeg reports fatal errors through error_exit, which must not return: we jump back to the caller's frame
// and throw from there. Warnings ("premature end of JPEG file", "corrupt data") are treated the same way, so
// that no half-decoded picture enters a data set.
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

// jpeglib.h needs size_t and FILE declared before.
#include <jpeglib.h>

#include "nets/data/data_error.h"
#include "nets/data/picture_codecs.h"

namespace offramp::data {
namespace {

struct JpegFailure {
  jpeg_error_mgr base;  // first: libjpeg hands back a pointer to it
  std::jmp_buf back;
  char text[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* failure = reinterpret_cast<JpegFailure*>(info->err);
  info->err->format_message(info, failure->text);
  std::longjmp(failure->back, 1);
}

[[noreturn]] void fail_with(j_common_ptr info, const char* text) {
  auto* failure = reinterpret_cast<JpegFailure*>(info->err);
  std::strncpy(failure->text, text, sizeof failure->text - 1);
  std::longjmp(failure->back, 1);
}

void on_message(j_common_ptr info, int level) {
  if (level < 0) on_error(info);  // level -1: a warning about damaged data; 0 and above are traces
}

void install(JpegFailure& failure) {
  jpeg_std_error(&failure.base);
  failure.base.error_exit = on_error;
  failure.base.emit_message = on_message;
  failure.text[0] = '\0';
}

}  // namespace

// All objects with destructors live in the caller, so that the jump crosses none. False: failure.text says
// why and `stopped_at` where.
static bool decode_into(std::span<const std::uint8_t> bytes,
                        JpegFailure& failure,
                        Picture& out,
                        std::size_t& stopped_at) {
  jpeg_decompress_struct info{};
  install(failure);
  info.err = &failure.base;
  if (setjmp(failure.back) != 0) {
    const std::size_t left = info.src != nullptr ? info.src->bytes_in_buffer : bytes.size();
    stopped_at = left <= bytes.size() ? bytes.size() - left : bytes.size();
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, bytes.data(), bytes.size());
  jpeg_read_header(&info, TRUE);
  const bool grey = info.jpeg_color_space == JCS_GRAYSCALE;
  if (!grey && info.jpeg_color_space != JCS_YCbCr && info.jpeg_color_space != JCS_RGB)
    fail_with(reinterpret_cast<j_common_ptr>(&info),
              "expected a grey or RGB picture, found another colour space");
  if (static_cast<std::size_t>(info.image_width) * info.image_height > kMaxPicturePixels)
    fail_with(reinterpret_cast<j_common_ptr>(&info), "the picture has more than 2^26 pixels");
  info.out_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;
  info.dct_method = JDCT_ISLOW;
  jpeg_start_decompress(&info);
  out.h = static_cast<int>(info.output_height);
  out.w = static_cast<int>(info.output_width);
  out.c = info.output_components;
  const std::size_t row_bytes = static_cast<std::size_t>(out.w) * static_cast<std::size_t>(out.c);
  out.pixels.resize(static_cast<std::size_t>(out.h) * row_bytes);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = out.pixels.data() + info.output_scanline * row_bytes;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return true;
}

Picture decode_jpeg(std::span<const std::uint8_t> bytes, const std::filesystem::path& path) {
  Picture out;
  JpegFailure failure{};
  std::size_t stopped_at = 0;
  if (!decode_into(bytes, failure, out, stopped_at)) fail_at_byte("jpeg", failure.text, path, stopped_at);
  return out;
}

std::vector<std::uint8_t> encode_jpeg(const Picture& picture, int quality) {
  JpegFailure failure{};
  jpeg_compress_struct info{};
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  install(failure);
  info.err = &failure.base;
  if (setjmp(failure.back) != 0) {
    jpeg_destroy_compress(&info);
    std::free(buffer);
    throw DataError(std::string("jpeg: ") + failure.text);
  }
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = static_cast<JDIMENSION>(picture.w);
  info.image_height = static_cast<JDIMENSION>(picture.h);
  info.input_components = picture.c;
  info.in_color_space = picture.c == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  for (int ch = 0; ch < info.num_components; ++ch)
    info.comp_info[ch].h_samp_factor = info.comp_info[ch].v_samp_factor = 1;
  jpeg_start_compress(&info, TRUE);
  const std::size_t row_bytes = static_cast<std::size_t>(picture.w) * static_cast<std::size_t>(picture.c);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(picture.pixels.data() + info.next_scanline * row_bytes);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::vector<std::uint8_t> out(buffer, buffer + size);
  std::free(buffer);
  return out;
}

}  // namespace offramp::data
