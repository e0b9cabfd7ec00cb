#include "tools/report/xy_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <utility>

#include "tools/report/text.h"

namespace offramp::report {
namespace {

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double v, bool log) {
    if (!std::isfinite(v) || (log && v <= 0)) return;
    low = std::min(low, v);
    high = std::max(high, v);
  }
};

void check(const XyChart& chart) {
  for (const Series& s : chart.series) {
    const auto fits = [&](const auto& v) { return v.empty() || v.size() == s.x.size(); };
    if (s.y.size() != s.x.size() || !fits(s.low) || !fits(s.high) || !fits(s.point_labels) ||
        s.low.size() != s.high.size())
      throw ReportError("chart: series '" + s.name + "' has " + std::to_string(s.x.size()) + " x values, " +
                        std::to_string(s.y.size()) + " y values, " + std::to_string(s.low.size()) + " and " +
                        std::to_string(s.high.size()) + " band ends, " +
                        std::to_string(s.point_labels.size()) + " labels");
  }
  for (const Histogram& h : chart.histograms)
    if (h.counts.empty() ? h.edges.size() > 1 : h.edges.size() != h.counts.size() + 1)
      throw ReportError("chart: histogram '" + h.name + "' has " + std::to_string(h.edges.size()) +
                        " edges for " + std::to_string(h.counts.size()) + " counts");
}

struct Point {
  double x, y;
};
using Run = std::vector<Point>;

std::string move_or_line(const Point& p, bool first) {
  return std::string(first ? "M" : "L").append(coordinate(p.x)).append(" ").append(coordinate(p.y));
}

// Unbroken stretches in pixels. Where many points share a pixel column, its first, least, greatest and last
// are kept: the picture is the same.
std::vector<Run> runs_of(std::span<const double> xs,
                         std::span<const double> ys,
                         const Scale& sx,
                         const Scale& sy) {
  std::vector<Run> runs;
  Run run, column;
  const auto flush_column = [&] {
    if (column.size() <= 4) {
      run.insert(run.end(), column.begin(), column.end());
    } else {
      const auto [low, high] = std::ranges::minmax_element(column, {}, &Point::y);
      run.push_back(column.front());
      run.push_back(low < high ? *low : *high);
      run.push_back(low < high ? *high : *low);
      run.push_back(column.back());
    }
    column.clear();
  };
  const auto flush_run = [&] {
    flush_column();
    if (!run.empty()) runs.push_back(std::move(run));
    run = {};
  };
  for (std::size_t i = 0; i < xs.size(); ++i) {
    if (!sx.shows(xs[i]) || !sy.shows(ys[i])) {
      flush_run();
      continue;
    }
    const Point p{sx(xs[i]), sy(ys[i])};
    if (!column.empty() && std::floor(column.back().x) != std::floor(p.x)) flush_column();
    column.push_back(p);
  }
  flush_run();
  return runs;
}

// A label goes where it overlaps nothing placed before: right, left, above or below its point, else right.
class LabelPlacer {
 public:
  explicit LabelPlacer(const PlotArea& area) : area_(area) {}
  void keep_free(double x, double y) { taken_.push_back({x - 6, y - 6, x + 6, y + 6}); }
  void put(SvgWriter& svg, double x, double y, const std::string& text) {
    const double w = text_width(text, 11);
    const Box boxes[4] = {{x + 8, y - 7, x + 8 + w, y + 5},
                          {x - 8 - w, y - 7, x - 8, y + 5},
                          {x - w / 2, y - 20, x + w / 2, y - 8},
                          {x - w / 2, y + 8, x + w / 2, y + 20}};
    Box best = boxes[x + 8 + w > area_.right() ? 1 : 0];
    for (const Box& box : boxes)
      if (fits(box)) {
        best = box;
        break;
      }
    taken_.push_back(best);
    svg.text(best.x0, best.y0 + 10.5, text, "note halo");
  }

 private:
  struct Box {
    double x0, y0, x1, y1;
  };
  bool fits(const Box& b) const {
    if (b.x0 < area_.left || b.x1 > area_.right() || b.y0 < area_.top || b.y1 > area_.bottom()) return false;
    return std::ranges::none_of(
        taken_, [&](const Box& t) { return b.x0 < t.x1 && t.x0 < b.x1 && b.y0 < t.y1 && t.y0 < b.y1; });
  }
  PlotArea area_;
  std::vector<Box> taken_;
};

int colour_of(int asked, std::size_t position) {
  return asked >= 0 ? asked % 8 : static_cast<int>(position % 8);
}

void draw_histogram(SvgWriter& svg, const Histogram& h, int colour, const Scale& sx, const Scale& sy) {
  const std::string css = "bars f" + std::to_string(colour);
  for (std::size_t i = 0; i < h.counts.size(); ++i) {
    if (!sx.shows(h.edges[i]) || !sx.shows(h.edges[i + 1]) || !sy.shows(h.counts[i])) continue;
    const double x0 = sx(h.edges[i]), x1 = sx(h.edges[i + 1]), top = sy(h.counts[i]),
                 base = sy(std::max(0., sy.low()));
    if (base - top <= 0) continue;
    const double gap = x1 - x0 > 4 ? 1 : 0;
    svg.rect(x0,
             top,
             x1 - x0 - gap,
             base - top,
             css,
             pretty(h.edges[i]) + " to " + pretty(h.edges[i + 1]) + ": " + pretty(h.counts[i]));
  }
}

void draw_band(SvgWriter& svg, const Series& s, const std::string& n, const Scale& sx, const Scale& sy) {
  std::string up, down, all;
  const auto flush = [&] {
    if (!up.empty()) all.append(up).append(down).append("Z");
    up.clear();
    down.clear();
  };
  for (std::size_t i = 0; i < s.low.size(); ++i) {
    if (!sx.shows(s.x[i]) || !sy.shows(s.low[i]) || !sy.shows(s.high[i])) {
      flush();
      continue;
    }
    up += move_or_line({sx(s.x[i]), sy(s.high[i])}, up.empty());
    down.insert(0, move_or_line({sx(s.x[i]), sy(s.low[i])}, false));
  }
  flush();
  svg.path(all, "band f" + n);
}

void draw_series(SvgWriter& svg, const Series& s, int colour, const Scale& sx, const Scale& sy) {
  const std::string n = std::to_string(colour);
  const bool line = s.draw != Draw::kPoints, points = s.draw != Draw::kLine;
  if (line) {
    draw_band(svg, s, n, sx, sy);
    std::string d;
    for (const Run& run : runs_of(s.x, s.y, sx, sy)) {
      for (std::size_t i = 0; i < run.size(); ++i) d += move_or_line(run[i], i == 0);
      if (run.size() == 1)
        d += move_or_line(run[0], false);  // a lone point shows as a dot of the line's width
    }
    svg.path(d, "line l" + n + (s.dash > 0 ? " d" + std::to_string(s.dash % 4) : ""));
  } else {
    std::string d;
    for (std::size_t i = 0; i < s.low.size(); ++i)
      if (sx.shows(s.x[i]) && sy.shows(s.low[i]) && sy.shows(s.high[i])) {
        const double x = sx(s.x[i]), a = sy(s.low[i]), b = sy(s.high[i]);
        d += move_or_line({x - 4, a}, true) + move_or_line({x + 4, a}, false) + move_or_line({x, a}, true) +
             move_or_line({x, b}, false) + move_or_line({x - 4, b}, true) + move_or_line({x + 4, b}, false);
      }
    svg.path(d, "whisker l" + n);
  }
  if (!points) return;
  const bool many = s.x.size() > 400;
  std::set<std::pair<long, long>> drawn;  // points on the same half pixel look the same: one is enough
  for (std::size_t i = 0; i < s.x.size(); ++i) {
    if (!sx.shows(s.x[i]) || !sy.shows(s.y[i])) continue;
    const double x = sx(s.x[i]), y = sy(s.y[i]);
    if (!drawn.emplace(std::lround(2 * x), std::lround(2 * y)).second) continue;
    svg.marker(x, y, colour, many ? 1.8 : line ? 3.2 : 4.2, many ? "f" + n : "mark f" + n);
  }
}

// Labels of vertical rules stand at the top, one row lower each time they would touch.
void draw_rules(
    SvgWriter& svg, const XyChart& chart, const PlotArea& area, const Scale& sx, const Scale& sy) {
  std::vector<double> row_end;
  std::vector<const Rule*> sorted;
  for (const Rule& rule : chart.rules) sorted.push_back(&rule);
  std::ranges::stable_sort(sorted, {}, [](const Rule* r) { return r->at; });
  for (const Rule* rule : sorted) {
    const Scale& scale = rule->vertical ? sx : sy;
    if (!scale.shows(rule->at) || rule->at < scale.low() || rule->at > scale.high()) continue;
    const double at = scale(rule->at), width = text_width(rule->label, 11);
    if (!rule->vertical) {
      svg.line(area.left, at, area.right(), at, "rule");
      svg.text(area.right() - 4, at - 5, rule->label, "note halo", Anchor::kEnd);
      continue;
    }
    svg.line(at, area.top, at, area.bottom(), "rule");
    const bool flip = at + 5 + width > area.right();
    const double start = flip ? at - 5 - width : at + 5;
    std::size_t row = 0;
    while (row < row_end.size() && row_end[row] > start - 6) ++row;
    if (row == row_end.size()) row_end.push_back(0);
    row_end[row] = start + width;
    svg.text(start, area.top + 12 + 14 * static_cast<double>(row), rule->label, "note halo");
  }
}

std::vector<LegendEntry> legend_of(const XyChart& chart) {
  std::vector<LegendEntry> entries;
  const std::size_t before = chart.histograms.size();
  for (std::size_t i = 0; i < before; ++i)
    if (!chart.histograms[i].name.empty())
      entries.push_back({chart.histograms[i].name, colour_of(chart.histograms[i].colour, i), Sample::kBlock});
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const Series& s = chart.series[i];
    if (s.name.empty()) continue;
    const int colour = colour_of(s.colour, before + i);
    Sample sample = s.draw == Draw::kPoints          ? Sample::kMarker
                    : s.draw == Draw::kLineAndPoints ? Sample::kLineMarker
                                                     : Sample::kLine;
    if (s.draw == Draw::kLine && s.dash > 0) sample = static_cast<Sample>(s.dash % 4);
    entries.push_back({s.name, colour, sample, colour});
  }
  return entries;
}

}  // namespace

Histogram make_histogram(std::string name, std::span<const double> values, const Bins& bins, double each) {
  Histogram h{.name = std::move(name)};
  const double width = bins.width();
  for (int i = 0; i <= bins.count; ++i) h.edges.push_back(bins.low + i * width);
  h.counts.resize(static_cast<std::size_t>(bins.count));
  for (const double v : values)
    if (!std::isnan(v))
      h.counts[static_cast<std::size_t>(std::clamp((v - bins.low) / width, 0.0, bins.count - 1.0))] += each;
  return h;
}

Histogram make_histogram(std::string name, std::span<const double> values, int bins, bool density) {
  Range range;
  std::vector<double> finite;
  for (const double v : values) {
    range.add(v, false);
    if (std::isfinite(v)) finite.push_back(v);
  }
  if (finite.empty() || bins < 1) return {.name = std::move(name)};
  if (range.low == range.high) range.low -= .5, range.high += .5;
  const Bins equal{.low = range.low, .high = range.high, .count = bins};
  const double each = density ? 1 / (static_cast<double>(finite.size()) * equal.width()) : 1;
  return make_histogram(std::move(name), finite, equal, each);
}

std::string render(const XyChart& chart) {
  check(chart);
  Range rx, ry;
  bool drawable = false, only_lines = true;
  for (const Histogram& h : chart.histograms) {
    for (const double e : h.edges) rx.add(e, chart.frame.x.log);
    for (const double c : h.counts) ry.add(c, chart.frame.y.log);
    if (!h.counts.empty()) ry.add(0, chart.frame.y.log);
    drawable = drawable || !h.counts.empty();
  }
  for (const Series& s : chart.series) {
    only_lines = only_lines && s.draw == Draw::kLine;
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      const bool shown = std::isfinite(s.x[i]) && std::isfinite(s.y[i]) &&
                         !(chart.frame.x.log && s.x[i] <= 0) && !(chart.frame.y.log && s.y[i] <= 0);
      if (!shown) continue;
      drawable = true;
      rx.add(s.x[i], chart.frame.x.log);
      ry.add(s.y[i], chart.frame.y.log);
      if (!s.low.empty()) ry.add(s.low[i], chart.frame.y.log), ry.add(s.high[i], chart.frame.y.log);
    }
  }
  if (drawable)
    for (const Rule& rule : chart.rules)
      rule.vertical ? rx.add(rule.at, chart.frame.x.log) : ry.add(rule.at, chart.frame.y.log);
  Scale sx(chart.frame.x,
           rx.low,
           rx.high,
           only_lines ? 0 : .04,
           false,
           std::max(3, static_cast<int>(chart.frame.width / 90)));
  Scale sy(chart.frame.y, ry.low, ry.high, .04, true, std::max(3, static_cast<int>(chart.frame.height / 65)));

  SvgWriter svg(chart.frame.width, chart.frame.height, chart.frame.title);
  const double top = draw_head(svg, chart.frame, legend_of(chart));
  const PlotArea area = draw_axes(svg, chart.frame, top, sx, sy);
  if (!drawable) {
    draw_no_data(svg, area);
    return std::move(svg).inline_svg();
  }
  svg.open_clip(area.left - 5, area.top - 5, area.width + 10, area.height + 6);
  for (std::size_t i = 0; i < chart.histograms.size(); ++i)
    draw_histogram(svg, chart.histograms[i], colour_of(chart.histograms[i].colour, i), sx, sy);
  for (std::size_t i = 0; i < chart.series.size(); ++i)
    draw_series(svg, chart.series[i], colour_of(chart.series[i].colour, chart.histograms.size() + i), sx, sy);
  draw_rules(svg, chart, area, sx, sy);
  svg.close_clip();
  LabelPlacer placer(area);
  for (const Series& s : chart.series)
    for (std::size_t i = 0; i < s.x.size() && s.draw != Draw::kLine; ++i)
      if (s.x.size() <= 400 && sx.shows(s.x[i]) && sy.shows(s.y[i])) placer.keep_free(sx(s.x[i]), sy(s.y[i]));
  for (const Series& s : chart.series)
    for (std::size_t i = 0; i < s.point_labels.size(); ++i)
      if (!s.point_labels[i].empty() && sx.shows(s.x[i]) && sy.shows(s.y[i]))
        placer.put(svg, sx(s.x[i]), sy(s.y[i]), s.point_labels[i]);
  return std::move(svg).inline_svg();
}

}  // namespace offramp::report
