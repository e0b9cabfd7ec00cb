// libjpeg reports fatal errors through error_exit, which must not return: we jump back to the caller's frame
// and throw from there. Warnings of lost data ("premature end of JPEG file", "bad Huffman code") are treated the same
// way, so that no half-decoded picture enters a data set; the others are counted.
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

// jpeglib.h needs size_t and FILE declared before.
#include <jpeglib.h>
// The codes of messages.
#include <jerror.h>

#include "nets/data/data_error.h"
#include "nets/data/picture_codecs.h"

namespace offramp::data {
namespace {

struct JpegFailure {
  jpeg_error_mgr base;  // first: libjpeg hands back a pointer to it
  std::jmp_buf back;
  char text[JMSG_LENGTH_MAX];
  int warnings = 0;  // harmless ones
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

// Every pixel is there, whatever these say: stray bytes before the first scan or behind the last one, marks of programs
// and colour profiles. Stray bytes between scans or before a restart marker may be lost data.
bool is_harmless(j_common_ptr info) {
  constexpr int kEndOfImage = 0xD9;
  switch (info->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
      return reinterpret_cast<j_decompress_ptr>(info)->input_scan_number == 0 ||
             info->err->msg_parm.i[1] == kEndOfImage;
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_BOGUS_ICC:
      return true;
    default:
      return false;
  }
}

void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;  // 0 and above are traces
  if (!is_harmless(info)) on_error(info);
  ++reinterpret_cast<JpegFailure*>(info->err)->warnings;
}

// A progressive file may list scans without end, each over the whole picture.
void on_progress(j_common_ptr info) {
  constexpr int kMaxScans = 500;
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans)
    fail_with(info, "the picture has more than 500 scans");
}

// Entropy coding spends a bit or more on each block of 8 x 8 values of each component; arithmetic coding less, so that
// such files are bounded by a size instead.
bool can_hold(const jpeg_decompress_struct& info, std::size_t bytes) {
  constexpr std::size_t kArithmeticPixels = std::size_t{1} << 22;
  const std::size_t pixels = std::size_t{info.image_width} * info.image_height;
  if (info.arith_code != FALSE && pixels <= kArithmeticPixels) return true;
  std::size_t blocks = 0;
  for (int i = 0; i < info.num_components; ++i) {
    const jpeg_component_info& part = info.comp_info[i];
    blocks += (std::size_t{info.image_width} * static_cast<std::size_t>(part.h_samp_factor) /
               static_cast<std::size_t>(info.max_h_samp_factor) / 8) *
              (std::size_t{info.image_height} * static_cast<std::size_t>(part.v_samp_factor) /
               static_cast<std::size_t>(info.max_v_samp_factor) / 8);
  }
  return blocks / 8 <= bytes;
}

// Ink to light; Adobe's programs store the complement.
void cmyk_to_rgb(Picture& picture, bool complemented) {
  const std::size_t pixels = picture.pixels.size() / 4;
  const unsigned flip = complemented ? 0 : 255;
  for (std::size_t i = 0; i < pixels; ++i) {
    const unsigned light = picture.pixels[4 * i + 3] ^ flip;
    for (std::size_t ch = 0; ch < 3; ++ch)
      picture.pixels[3 * i + ch] =
          static_cast<std::uint8_t>(((picture.pixels[4 * i + ch] ^ flip) * light * 2 + 255) / 510);
  }
  picture.pixels.resize(3 * pixels);
  picture.c = 3;
}

void install(JpegFailure& failure) {
  jpeg_std_error(&failure.base);
  failure.base.error_exit = on_error;
  failure.base.emit_message = on_message;
  failure.text[0] = '\0';
  failure.warnings = 0;
}

}  // namespace

// All objects with destructors live in the caller, so that the jump crosses none. False: failure.text says
// why and `stopped_at` where.
static bool decode_into(std::span<const std::uint8_t> bytes,
                        JpegFailure& failure,
                        Picture& out,
                        bool& ink_complemented,
                        std::size_t& stopped_at) {
  jpeg_decompress_struct info{};
  jpeg_progress_mgr progress{};
  install(failure);
  info.err = &failure.base;
  if (setjmp(failure.back) != 0) {
    const std::size_t left = info.src != nullptr ? info.src->bytes_in_buffer : bytes.size();
    stopped_at = left <= bytes.size() ? bytes.size() - left : bytes.size();
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_create_decompress(&info);
  progress.progress_monitor = on_progress;
  info.progress = &progress;
  jpeg_mem_src(&info, bytes.data(), bytes.size());
  jpeg_read_header(&info, TRUE);
  const bool grey = info.jpeg_color_space == JCS_GRAYSCALE;
  const bool ink = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  if (!grey && !ink && info.jpeg_color_space != JCS_YCbCr && info.jpeg_color_space != JCS_RGB)
    fail_with(reinterpret_cast<j_common_ptr>(&info),
              "expected a grey, RGB or CMYK picture, found another colour space");
  if (std::size_t{info.image_width} * info.image_height > kMaxPicturePixels)
    fail_with(reinterpret_cast<j_common_ptr>(&info), "the picture has more than 2^26 pixels");
  if (!can_hold(info, bytes.size()))
    fail_with(reinterpret_cast<j_common_ptr>(&info), "the picture has more pixels than the file can hold");
  info.out_color_space = grey ? JCS_GRAYSCALE : ink ? JCS_CMYK : JCS_RGB;
  ink_complemented = ink && info.saw_Adobe_marker != FALSE;
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
  bool ink_complemented = false;
  std::size_t stopped_at = 0;
  if (!decode_into(bytes, failure, out, ink_complemented, stopped_at))
    fail_at_byte("jpeg", failure.text, path, stopped_at);
  if (out.c == 4) cmyk_to_rgb(out, ink_complemented);
  out.warnings = failure.warnings;
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
