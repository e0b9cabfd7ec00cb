#include "tools/report/frame.h"

#include <algorithm>
#include <cmath>

#include "tools/report/text.h"

namespace offramp::report {
namespace {

constexpr double kChartMargin = 16, kTickSize = 11;

void draw_sample(SvgWriter& svg, double x, double y, const LegendEntry& entry) {
  const std::string n = std::to_string(entry.colour % 8);
  switch (entry.sample) {
    case Sample::kMarker:
      svg.marker(x + 9, y, entry.shape, 4.2, "mark f" + n);
      break;
    case Sample::kBlock:
      svg.rect(x + 3, y - 5, 12, 10, "bar f" + n);
      break;
    default: {
      const int dash = entry.sample == Sample::kDashed1   ? 1
                       : entry.sample == Sample::kDashed2 ? 2
                       : entry.sample == Sample::kDashed3 ? 3
                                                          : 0;
      svg.line(x, y, x + 18, y, "line l" + n + (dash > 0 ? " d" + std::to_string(dash) : ""));
      if (entry.sample == Sample::kLineMarker) svg.marker(x + 9, y, entry.shape, 3.6, "mark f" + n);
    }
  }
}

}  // namespace

Scale::Scale(const Axis& axis, double low, double high, double pad, bool nice, int wanted_ticks)
    : log_(axis.log) {
  if (!(low <= high)) low = log_ ? .1 : 0, high = 1;
  if (axis.min) low = *axis.min;
  if (axis.max) high = *axis.max;
  if (log_ && !(low > 0))
    throw ReportError("chart: expected a log axis to start above 0, found " + pretty(low));
  if (low > high)
    throw ReportError("chart: expected an axis with min < max, found " + pretty(low) + " and " +
                      pretty(high));
  if (low == high) {  // one value: some room on both sides
    if (log_) {
      low /= 2, high *= 2;
    } else {
      const double room = low == 0 ? 1 : std::abs(low) * .1;
      low -= room, high += room;
    }
  } else if (log_) {
    const double room = std::pow(high / low, pad);
    if (!axis.min) low /= room;
    if (!axis.max) high *= room;
  } else {
    const double room = (high - low) * pad;
    const bool from_zero = low == 0, to_zero = high == 0;  // a natural end needs no padding
    if (!axis.min && !from_zero) low -= room;
    if (!axis.max && !to_zero) high += room;
  }
  if (nice && !log_) {
    const auto inside = linear_ticks(low, high, wanted_ticks);
    if (inside.size() >= 2) {
      const double step = inside[1].value - inside[0].value;
      if (!axis.min && inside.front().value - low > 1e-9 * step) low = inside.front().value - step;
      if (!axis.max && high - inside.back().value > 1e-9 * step) high = inside.back().value + step;
    }
  }
  low_ = low, high_ = high;
  ticks_ = log_ ? log_ticks(low, high, wanted_ticks) : linear_ticks(low, high, wanted_ticks);
}

double Scale::operator()(double value) const {
  const double t = log_ ? std::log(value / low_) / std::log(high_ / low_) : (value - low_) / (high_ - low_);
  return from_ + std::clamp(t, -50., 50.) * (to_ - from_);
}

bool Scale::shows(double value) const { return std::isfinite(value) && (!log_ || value > 0); }

double draw_head(SvgWriter& svg, const Frame& frame, const std::vector<LegendEntry>& legend) {
  double y = kChartMargin;
  if (!frame.title.empty()) svg.text(kChartMargin, y += 10, frame.title, "title");
  if (!frame.subtitle.empty()) svg.text(kChartMargin, y += 18, frame.subtitle, "sub");
  if (frame.legend && legend.size() > 1) {
    double x = kChartMargin;
    y += frame.title.empty() && frame.subtitle.empty() ? 4 : 22;
    for (const LegendEntry& entry : legend) {
      const double width = 24 + text_width(entry.name, 12) + 18;
      if (x > kChartMargin && x + width > frame.width - kChartMargin) x = kChartMargin, y += 19;
      draw_sample(svg, x, y - 4, entry);
      svg.text(x + 24, y, entry.name, "");
      x += width;
    }
  }
  return y + 16;
}

PlotArea draw_axes(SvgWriter& svg, const Frame& frame, double top, Scale& x, Scale& y) {
  double widest = 0;
  for (const Tick& tick : y.ticks()) widest = std::max(widest, text_width(tick.label, kTickSize));
  const double left = kChartMargin + widest + 8 + (frame.y.label.empty() ? 0 : 18),
               bottom = frame.height - kChartMargin - 16 - (frame.x.label.empty() ? 0 : 20);
  const PlotArea area{
      left, top, std::max(40., frame.width - kChartMargin - 6 - left), std::max(40., bottom - top)};
  x.place(area.left, area.right());
  y.place(area.bottom(), area.top);
  for (const Tick& tick : y.ticks()) {
    const double at = std::round(y(tick.value)) + .5;
    if (tick.label.empty()) continue;  // minor ticks carry no grid line
    svg.line(area.left, at, area.right(), at, "grid");
    svg.text(area.left - 8, at + 3.5, tick.label, "tick", Anchor::kEnd);
  }
  const double base = std::round(area.bottom()) + .5;
  svg.line(area.left, base, area.right(), base, "axis");
  double free_from = -1e9;
  for (const Tick& tick : x.ticks()) {
    const double at = std::round(x(tick.value)) + .5, half = text_width(tick.label, kTickSize) / 2 + 4;
    svg.line(at, base, at, base + (tick.label.empty() ? 3 : 5), "axis");
    if (tick.label.empty() || at - half < free_from) continue;
    svg.text(at, base + 18, tick.label, "tick", Anchor::kMiddle);
    free_from = at + half;
  }
  if (!frame.x.label.empty())
    svg.text(area.left + area.width / 2, base + 38, frame.x.label, "label", Anchor::kMiddle);
  if (!frame.y.label.empty())
    svg.text_up(kChartMargin + 10, area.top + area.height / 2, frame.y.label, "label");
  return area;
}

void draw_no_data(SvgWriter& svg, const PlotArea& area) {
  svg.text(area.left + area.width / 2, area.top + area.height / 2, "no data", "none", Anchor::kMiddle);
}

}  // namespace offramp::report
