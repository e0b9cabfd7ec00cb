#pragma once
// Small pictures in a grid with captions: samples and the exit they took.
#include <cstdint>
#include <string>
#include <vector>

namespace offramp::report {

struct StripImage {
  std::vector<std::uint8_t> pixels = {};  // [h,w,c], c = 1 or 3
  int h = 0, w = 0, c = 3;
  std::string caption = {};  // one short line below
  std::string detail = {};   // a second, fainter line
  int colour = -1;           // 0..7: a bar under the picture in that series colour; -1: none
};

struct ImageStrip {
  std::string title = {}, subtitle = {};
  std::vector<StripImage> images = {};
  double cell = 84;  // side of a picture on the page, pixels
  double width = 860;
};

// Throws ReportError for a picture whose pixels do not fit its size.
std::string render(const ImageStrip& strip);

}  // namespace offramp::report
