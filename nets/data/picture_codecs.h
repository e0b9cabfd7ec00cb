#pragma once
// The two codecs behind image_file.h: libjpeg and libpng, whose error handling is setjmp/longjmp. Each
// function keeps every object with a destructor outside the span that a longjmp crosses.
#include "nets/data/image_file.h"

namespace offramp::data {

// A header may lie about the size: a picture has at most 2^26 pixels, and no more than its file can hold.
inline constexpr std::size_t kMaxPicturePixels = std::size_t{1} << 26;

Picture decode_jpeg(std::span<const std::uint8_t> bytes, const std::filesystem::path& path);
Picture decode_png(std::span<const std::uint8_t> bytes, const std::filesystem::path& path);

}  // namespace offramp::data
