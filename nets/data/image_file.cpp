#include "nets/data/image_file.h"

#include <algorithm>
#include <cctype>
#include <string>

#include "nets/data/bytes.h"
#include "nets/data/data_error.h"
#include "nets/data/picture_codecs.h"

namespace offramp::data {
namespace {

constexpr int kMaxSide = 1 << 16;

// PPM header numbers: decimal, separated by white space, '#' starts a comment up to the end of the line.
int ppm_number(std::span<const std::uint8_t> bytes, std::size_t& at, const std::filesystem::path& path) {
  for (; at < bytes.size(); ++at) {
    if (bytes[at] == '#')
      while (at < bytes.size() && bytes[at] != '\n') ++at;
    else if (std::isspace(bytes[at]) == 0)
      break;
  }
  const std::size_t start = at;
  int value = 0;
  while (at < bytes.size() && std::isdigit(bytes[at]) != 0 && value <= kMaxSide)
    value = value * 10 + (bytes[at++] - '0');
  if (at == start || value < 1 || value > kMaxSide)
    fail_at_byte(
        "ppm", "expected a number in 1.." + std::to_string(kMaxSide) + " in the header", path, start);
  return value;
}

Picture decode_ppm(std::span<const std::uint8_t> bytes, const std::filesystem::path& path) {
  Picture out;
  out.c = bytes[1] == '6' ? 3 : 1;
  std::size_t at = 2;
  out.w = ppm_number(bytes, at, path);
  out.h = ppm_number(bytes, at, path);
  const std::size_t maximum_at = at;
  const int maximum = ppm_number(bytes, at, path);
  if (maximum != 255)
    fail_at_byte("ppm", "expected maximum 255, found " + std::to_string(maximum), path, maximum_at);
  if (at >= bytes.size() || std::isspace(bytes[at]) == 0)
    fail_at_byte("ppm", "expected one white space after the header", path, at);
  ++at;
  if (static_cast<std::size_t>(out.h) * static_cast<std::size_t>(out.w) > kMaxPicturePixels)
    fail_at_byte("ppm", "the picture has more than 2^26 pixels", path, 0);
  const std::size_t want = static_cast<std::size_t>(out.h) * static_cast<std::size_t>(out.w * out.c);
  if (bytes.size() - at != want)
    fail_at_byte(
        "ppm",
        "expected " + std::to_string(want) + " pixel bytes, found " + std::to_string(bytes.size() - at),
        path,
        at);
  out.pixels.assign(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end());
  return out;
}

}  // namespace

Picture decode_picture(std::span<const std::uint8_t> bytes, const std::filesystem::path& path) {
  if (bytes.size() >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff)
    return decode_jpeg(bytes, path);
  if (bytes.size() >= 8 && bytes[0] == 0x89 && bytes[1] == 'P' && bytes[2] == 'N' && bytes[3] == 'G')
    return decode_png(bytes, path);
  if (bytes.size() >= 3 && bytes[0] == 'P' && (bytes[1] == '5' || bytes[1] == '6'))
    return decode_ppm(bytes, path);
  fail_at_byte("image", "expected JPEG, PNG or PPM (P5, P6), found none of their first bytes", path, 0);
}

Picture read_picture(const std::filesystem::path& path) { return decode_picture(read_file(path), path); }

Picture to_rgb(Picture picture) {
  if (picture.c == 3) return picture;
  std::vector<std::uint8_t> rgb;
  rgb.reserve(picture.pixels.size() * 3);
  for (const std::uint8_t v : picture.pixels) rgb.insert(rgb.end(), 3, v);
  picture.pixels = std::move(rgb);
  picture.c = 3;
  return picture;
}

bool is_picture_name(const std::filesystem::path& path) {
  std::string ext = path.extension().string();
  std::ranges::transform(
      ext, ext.begin(), [](unsigned char ch) { return static_cast<char>(std::tolower(ch)); });
  return ext == ".jpg" || ext == ".jpeg" || ext == ".png" || ext == ".ppm" || ext == ".pgm";
}

}  // namespace offramp::data
