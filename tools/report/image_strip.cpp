#include "tools/report/image_strip.h"

#include <algorithm>
#include <cmath>

#include "tools/report/base64.h"
#include "tools/report/frame.h"
#include "tools/report/png_encode.h"
#include "tools/report/text.h"

namespace offramp::report {

std::string render(const ImageStrip& strip) {
  constexpr double kStripMargin = 16, kGap = 12;
  const Frame frame{.title = strip.title, .subtitle = strip.subtitle, .width = strip.width};
  const bool details =
      std::ranges::any_of(strip.images, [](const StripImage& i) { return !i.detail.empty(); });
  const double row = strip.cell + 26 + (details ? 14 : 0) + kGap;
  const int columns =
      std::max(1, static_cast<int>((strip.width - 2 * kStripMargin + kGap) / (strip.cell + kGap)));
  const int rows = std::max(1, (static_cast<int>(strip.images.size()) + columns - 1) / columns);
  const double top = (strip.title.empty() ? 0 : 26) + (strip.subtitle.empty() ? 0 : 18) + 18;
  SvgWriter svg(strip.width, top + row * rows, strip.title);
  draw_head(svg, frame, {});
  if (strip.images.empty())
    draw_no_data(svg, {kStripMargin, top, strip.width - 2 * kStripMargin, strip.cell});
  for (std::size_t i = 0; i < strip.images.size(); ++i) {
    const StripImage& image = strip.images[i];
    const double x = kStripMargin +
                     static_cast<double>(i % static_cast<std::size_t>(columns)) * (strip.cell + kGap),
                 y = top + static_cast<double>(i / static_cast<std::size_t>(columns)) * row;
    const std::string tip = image.detail.empty() ? image.caption : image.caption + ", " + image.detail;
    svg.image(
        x, y, strip.cell, strip.cell, png_data_uri(encode_png(image.pixels, image.h, image.w, image.c)), tip);
    if (image.colour >= 0)
      svg.rect(x, y + strip.cell + 2, strip.cell, 3, "bar f" + std::to_string(image.colour % 8));
    svg.text(x, y + strip.cell + 18, image.caption, "note");
    if (!image.detail.empty()) svg.text(x, y + strip.cell + 32, image.detail, "tick");
  }
  return std::move(svg).inline_svg();
}

}  // namespace offramp::report
