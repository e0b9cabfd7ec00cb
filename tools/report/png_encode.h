#pragma once
// 8-bit pixels to PNG bytes, through libpng's simplified interface.
#include <cstdint>
#include <span>
#include <vector>

namespace offramp::report {

// pixels: [h,w,c] with c = 1 (grey) or 3 (RGB). Throws ReportError.
std::vector<std::uint8_t> encode_png(std::span<const std::uint8_t> pixels, int h, int w, int c);

}  // namespace offramp::report
