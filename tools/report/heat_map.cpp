#include "tools/report/heat_map.h"

#include <algorithm>
#include <cmath>

#include "tools/report/frame.h"
#include "tools/report/text.h"

namespace offramp::report {
namespace {

constexpr double kMapMargin = 16;

std::string number(const HeatMap& map, double v) {
  if (map.percent) return fixed(100 * v, map.decimals) + "%";
  if (map.decimals == 0 && std::isfinite(v) && std::abs(v) < 1e15) return with_commas(std::llround(v));
  return fixed(v, map.decimals);
}

}  // namespace

std::string render(const HeatMap& map) {
  const std::size_t rows = map.rows.size(), columns = map.columns.size();
  if (map.values.size() != rows * columns)
    throw ReportError("heat map: expected " + std::to_string(rows) + "x" + std::to_string(columns) +
                      " values, found " + std::to_string(map.values.size()));
  double row_names = 0, column_names = 0;
  for (const auto& name : map.rows) row_names = std::max(row_names, text_width(name, 11));
  for (const auto& name : map.columns) column_names = std::max(column_names, text_width(name, 11));
  const double left = kMapMargin + row_names + 10 + (map.row_label.empty() ? 0 : 20);
  const double cell_w =
      columns == 0 ? 60
                   : std::clamp((map.width - left - kMapMargin) / static_cast<double>(columns), 6., 110.);
  const double cell_h = std::clamp(cell_w * .62, std::min(cell_w, 22.), 46.);
  const bool turned = column_names + 8 > cell_w;  // long names are written upwards

  const Frame frame{.title = map.title, .subtitle = map.subtitle, .width = map.width};
  const double head = (map.title.empty() ? 0 : 26) + (map.subtitle.empty() ? 0 : 18) + 16;
  const double top = head + (map.column_label.empty() ? 0 : 20) + (turned ? column_names + 8 : 18);
  const double grid_w = cell_w * static_cast<double>(columns), grid_h = cell_h * static_cast<double>(rows);
  const double height = top + std::max(grid_h, 40.) + kMapMargin;

  SvgWriter svg(map.width, height, map.title);
  draw_head(svg, frame, {});
  if (map.values.empty()) {
    draw_no_data(svg, {left, top, std::max(40., map.width - left - kMapMargin), 40});
    return std::move(svg).inline_svg();
  }
  if (!map.column_label.empty())
    svg.text(left + grid_w / 2, head + 12, map.column_label, "label", Anchor::kMiddle);
  if (!map.row_label.empty()) svg.text_up(kMapMargin + 10, top + grid_h / 2, map.row_label, "label");

  double greatest = 0, widest = 0;
  for (const double v : map.values) {
    if (std::isfinite(v)) greatest = std::max(greatest, v);
    widest = std::max(widest, text_width(number(map, v), 11.5));
  }
  for (std::size_t c = 0; c < columns; ++c) {
    const double x = left + (static_cast<double>(c) + .5) * cell_w;
    if (turned && cell_w >= 12)
      svg.text_up(x + 4, top - 6 - text_width(map.columns[c], 11) / 2, map.columns[c], "tick");
    else if (!turned)
      svg.text(x, top - 7, map.columns[c], "tick", Anchor::kMiddle);
  }
  for (std::size_t r = 0; r < rows; ++r) {
    const double y = top + static_cast<double>(r) * cell_h;
    if (cell_h >= 11) svg.text(left - 8, y + cell_h / 2 + 4, map.rows[r], "tick", Anchor::kEnd);
    double largest = greatest;
    if (map.shade == Shade::kByRow) {
      largest = 0;
      for (std::size_t c = 0; c < columns; ++c)
        if (const double v = map.values[r * columns + c]; std::isfinite(v)) largest = std::max(largest, v);
    }
    for (std::size_t c = 0; c < columns; ++c) {
      const double v = map.values[r * columns + c], x = left + static_cast<double>(c) * cell_w;
      const std::string tip = map.rows[r] + ", " + map.columns[c] + ": " + number(map, v);
      if (!std::isfinite(v)) {
        svg.rect(x, y, cell_w - 1, cell_h - 1, "absent", tip);
        if (cell_w >= 30) svg.text(x + cell_w / 2, y + cell_h / 2 + 4, "n/a", "none note", Anchor::kMiddle);
        continue;
      }
      const double share = largest > 0 ? std::clamp(v / largest, 0., 1.) : 0;
      svg.rect(x, y, cell_w - 1, cell_h - 1, "cell", tip, .04 + .94 * share);
      if (widest + 6 <= cell_w && cell_h >= 15)
        svg.text(x + (cell_w - 1) / 2,
                 y + cell_h / 2 + 4,
                 number(map, v),
                 share > .78 ? "on" : "off",
                 Anchor::kMiddle);
    }
  }
  return std::move(svg).inline_svg();
}

}  // namespace offramp::report
