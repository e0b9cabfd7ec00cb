#include "tools/report/figures.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "tools/report/text.h"
#include "tools/report/xy_chart.h"

namespace offramp::report {
namespace {

constexpr double kMicro = 1e-3;  // per ns

// The times of one exit as ticks below the axis, in a strip of the given height.
Series tick_strip(const TimeDensity& f, int exit, double height) {
  constexpr std::size_t kTicksPerExit = 1000;
  const auto count = static_cast<std::size_t>(std::count(f.exit.begin(), f.exit.end(), exit));
  const std::size_t step = count / kTicksPerExit + 1;
  Series strip{.colour = exit_colour(static_cast<std::size_t>(exit - 1))};
  std::size_t seen = 0;
  for (std::size_t i = 0; i < f.exit.size(); ++i) {
    if (f.exit[i] != exit || seen++ % step != 0) continue;
    const double at = f.times_ns[i] * kMicro;
    strip.x.insert(strip.x.end(), {at, at, std::numeric_limits<double>::quiet_NaN()});
    strip.y.insert(strip.y.end(), {-0.75 * height, -0.25 * height, 0});
  }
  return strip;
}

}  // namespace

int exit_colour(std::size_t index) { return static_cast<int>(index % 7); }  // 7 is the colour of curves

std::string time_density(const TimeDensity& f) {
  XyChart chart;
  chart.frame.title = f.title;
  chart.frame.subtitle = f.subtitle;
  chart.frame.x.label = f.x_label;
  chart.frame.y.label = "density, 1/us";
  const double end = f.end_ns > f.begin_ns ? f.end_ns : f.begin_ns + 1;
  if (!f.ticks) {
    chart.frame.x.min = f.begin_ns * kMicro;
    chart.frame.x.max = end * kMicro;
  }
  const Bins bins{.low = f.begin_ns * kMicro, .high = end * kMicro, .count = f.bins};
  const double each = 1 / (bins.width() * static_cast<double>(f.times_ns.size()));
  double highest = 0;
  for (std::size_t e = 0; e < f.exit_names.size(); ++e) {
    std::vector<double> values;
    for (std::size_t i = 0; i < f.times_ns.size(); ++i)
      if (f.exit[i] == static_cast<int>(e + 1) && f.times_ns[i] <= end)
        values.push_back(f.times_ns[i] * kMicro);
    Histogram bars = make_histogram(f.exit_names[e], values, bins, each);
    bars.colour = exit_colour(e);
    for (const double height : bars.counts) highest = std::max(highest, height);
    chart.histograms.push_back(std::move(bars));
  }
  if (!f.curve.empty()) {
    Series curve{.name = f.curve_name, .colour = 7};
    for (std::size_t i = 0; i < f.curve.size(); ++i) {
      curve.x.push_back(f.curve_ns[i] * kMicro);
      curve.y.push_back(f.curve[i] / kMicro);
      highest = std::max(highest, curve.y.back());
    }
    chart.series.push_back(std::move(curve));
  }
  if (f.ticks) {
    const double strip = 0.06 * highest;
    chart.frame.y.min = -strip;
    chart.frame.y.max = 1.1 * highest;
    for (std::size_t e = 0; e < f.exit_names.size(); ++e)
      chart.series.push_back(tick_strip(f, static_cast<int>(e + 1), strip));
  }
  for (const double t : f.thresholds_ns)
    chart.rules.push_back({.at = t * kMicro, .label = pretty(t * kMicro, 4)});
  return render(chart);
}

std::string confusion(HeatMap map,
                      const std::vector<std::vector<std::int64_t>>& counts,
                      const std::function<std::string(std::size_t)>& name_of) {
  map.shade = Shade::kByRow;
  for (std::size_t e = 0; e < counts.size(); ++e) map.rows.push_back(name_of(e));
  for (std::size_t e = 0; !counts.empty() && e < counts.front().size(); ++e)
    map.columns.push_back(name_of(e));
  for (const auto& row : counts)
    for (const auto count : row) map.values.push_back(static_cast<double>(count));
  return render(map);
}

namespace {

Series roc_series(const RocCurve& curve, int colour) {
  constexpr double kStep = 0.01;  // decades
  Series series{.name = curve.name, .colour = colour};
  for (std::size_t i = 0; i < curve.fpr.size(); ++i) {
    const double fpr = curve.fpr[i], tpr = curve.tpr[i];
    if (!(fpr > 0 && tpr > 0)) continue;
    const bool last = i + 1 == curve.fpr.size();
    if (!last && !series.x.empty() &&
        std::hypot(std::log10(fpr / series.x.back()), std::log10(tpr / series.y.back())) < kStep)
      continue;
    series.x.push_back(fpr);
    series.y.push_back(tpr);
  }
  return series;
}

}  // namespace

std::string roc(const std::string& title,
                const std::string& subtitle,
                std::span<const double> fpr,
                std::span<const double> tpr) {
  const RocCurve curve{"score", {fpr.begin(), fpr.end()}, {tpr.begin(), tpr.end()}};
  return roc(title, subtitle, std::span(&curve, 1));
}

std::string roc(const std::string& title, const std::string& subtitle, std::span<const RocCurve> curves) {
  XyChart chart;
  chart.frame.title = title;
  chart.frame.subtitle = subtitle;
  chart.frame.height = 460;
  chart.frame.x = {.label = "false positive rate", .log = true, .max = 1.0};
  chart.frame.y = {.label = "true positive rate", .log = true, .max = 1.0};
  double least = 1;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    chart.series.push_back(roc_series(curves[i], static_cast<int>(i % 7)));
    if (!chart.series.back().x.empty()) least = std::min(least, chart.series.back().x.front());
  }
  if (least == 1) least = 0.1;
  chart.series.push_back({.name = "guessing", .x = {least, 1}, .y = {least, 1}, .colour = 7, .dash = 1});
  return render(chart);
}

}  // namespace offramp::report
