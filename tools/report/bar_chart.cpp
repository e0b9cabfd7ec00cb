#include "tools/report/bar_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tools/report/text.h"

namespace offramp::report {
namespace {

constexpr double kBarMargin = 16, kBar = 15, kBarGap = 3, kGroupGap = 14;

void check(const BarChart& chart) {
  for (const BarSeries& s : chart.series) {
    const auto fits = [&](const auto& v) { return v.empty() || v.size() == chart.categories.size(); };
    if (s.values.size() != chart.categories.size() || !fits(s.low) || !fits(s.high) ||
        s.low.size() != s.high.size())
      throw ReportError("bar chart: series '" + s.name + "' has " + std::to_string(s.values.size()) +
                        " values for " + std::to_string(chart.categories.size()) + " categories");
  }
}

}  // namespace

std::string render(const BarChart& chart) {
  check(chart);
  double low = 0, high = -std::numeric_limits<double>::infinity(), names = 0, numbers = 0;
  for (const BarSeries& s : chart.series)
    for (const auto* list : {&s.values, &s.low, &s.high})
      for (const double v : *list)
        if (std::isfinite(v)) {
          low = std::min(low, v);
          high = std::max(high, v);
          numbers = std::max(numbers, text_width(pretty(v, chart.digits) + chart.unit, 11));
        }
  const bool drawable = std::isfinite(high);
  high = std::max(high, 0.);
  for (const auto& name : chart.categories) names = std::max(names, text_width(name, 12));
  names = std::min(names, chart.width * .4);

  std::vector<LegendEntry> legend;
  for (std::size_t i = 0; i < chart.series.size(); ++i)
    legend.push_back({chart.series[i].name,
                      chart.series[i].colour >= 0 ? chart.series[i].colour : static_cast<int>(i),
                      Sample::kBlock});
  const double group =
      static_cast<double>(std::max<std::size_t>(chart.series.size(), 1)) * (kBar + kBarGap) + kGroupGap;
  Frame frame{.title = chart.title, .subtitle = chart.subtitle, .width = chart.width};

  // The head is drawn twice: once to learn its height.
  SvgWriter probe(chart.width, 0, "");
  const double top = draw_head(probe, frame, legend);
  const double rows = std::max(group * static_cast<double>(chart.categories.size()), 60.);
  const double bottom = top + rows,
               height = bottom + kBarMargin + 16 + (chart.value_axis.label.empty() ? 0 : 20);
  SvgWriter svg(chart.width, height, chart.title);
  draw_head(svg, frame, legend);

  const double left = kBarMargin + names + 10, right = chart.width - kBarMargin - numbers - 8;
  Scale scale(chart.value_axis,
              low,
              drawable ? high : -1,
              0,
              false,
              std::max(3, static_cast<int>((right - left) / 90)));
  scale.place(left, std::max(right, left + 40));
  for (const Tick& tick : scale.ticks()) {
    if (tick.label.empty()) continue;
    const double x = std::round(scale(tick.value)) + .5;
    svg.line(x, top, x, bottom, "grid");
    svg.text(x, bottom + 16, tick.label, "tick", Anchor::kMiddle);
  }
  if (!chart.value_axis.label.empty())
    svg.text((left + right) / 2, bottom + 36, chart.value_axis.label, "label", Anchor::kMiddle);
  if (!drawable || chart.categories.empty()) {
    draw_no_data(svg, {left, top, right - left, rows});
    return std::move(svg).inline_svg();
  }

  const double zero = scale(chart.value_axis.log ? scale.low() : std::clamp(0., scale.low(), scale.high()));
  for (std::size_t c = 0; c < chart.categories.size(); ++c) {
    const double group_top = top + group * static_cast<double>(c) + kGroupGap / 2;
    const double group_mid = group_top + (group - kGroupGap - kBarGap) / 2;
    svg.text(left - 10, group_mid + 4, chart.categories[c], "", Anchor::kEnd);
    for (std::size_t i = 0; i < chart.series.size(); ++i) {
      const BarSeries& s = chart.series[i];
      const std::string n = std::to_string(legend[i].colour % 8);
      const double y = group_top + static_cast<double>(i) * (kBar + kBarGap), v = s.values[c];
      if (!scale.shows(v)) {
        svg.text(zero + 6, y + kBar / 2 + 4, "n/a", "none note");
        continue;
      }
      const double end = scale(v);
      const std::string text = pretty(v, chart.digits) + chart.unit;
      svg.rect(std::min(zero, end),
               y,
               std::abs(end - zero),
               kBar,
               "bar f" + n,
               chart.categories[c] + ", " + s.name + ": " + text);
      double label_at = std::max(end, zero);
      if (!s.low.empty() && scale.shows(s.low[c]) && scale.shows(s.high[c])) {
        const double a = scale(s.low[c]), b = scale(s.high[c]), mid = y + kBar / 2;
        svg.line(a, mid, b, mid, "interval");
        svg.line(a, mid - 4, a, mid + 4, "interval");
        svg.line(b, mid - 4, b, mid + 4, "interval");
        label_at = std::max(label_at, b);
      }
      svg.text(label_at + 6, y + kBar / 2 + 4, text, "note halo");
    }
  }
  svg.line(std::round(zero) + .5, top, std::round(zero) + .5, bottom, "axis");
  return std::move(svg).inline_svg();
}

}  // namespace offramp::report
