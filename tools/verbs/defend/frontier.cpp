#include "tools/verbs/defend/frontier.h"

#include "stats/padding/half_normal.h"
#include "stats/padding/optimum.h"
#include "tools/frame/table.h"
#include "tools/report/svg_writer.h"
#include "tools/report/xy_chart.h"

#include <fmt/format.h>

#include <algorithm>

namespace offramp::tools {
namespace {

FrontierRow row_of(const std::string& name,
                   const stats::PaddedExits& exits,
                   const stats::Padding& padding,
                   const stats::AttributeExits* attribute) {
  FrontierRow row{name,
                  padding.delay,
                  padding.bits,
                  stats::optimal_padding_within(exits, padding.delay).lower_bound_bits,
                  padding.min_entropy_bits,
                  {}};
  if (attribute) row.attribute_bits = stats::attribute_bits(*attribute, padding.channel);
  return row;
}

std::string or_dash(const std::optional<double>& bits) { return bits ? fmt::format("{:.4f}", *bits) : "-"; }

report::Series series_of(const std::string& name, const std::vector<FrontierRow>& rows, report::Draw draw) {
  report::Series series{.name = name, .draw = draw};
  for (const FrontierRow& row : rows) {
    series.x.push_back(row.delay_ns / 1e6);
    series.y.push_back(row.bits);
  }
  return series;
}

}  // namespace

Frontier frontier_of(const stats::PaddedExits& given,
                     const stats::AttributeExits* attribute,
                     int optimum_points,
                     const std::vector<double>& sigmas_ns) {
  const stats::PaddedExits exits = stats::checked(given);
  Frontier frontier;
  for (std::size_t k = 0; k < exits.times.size(); ++k) frontier.mean_ns += exits.shares[k] * exits.times[k];
  for (const stats::Grouping& grouping : stats::grouping_frontier(exits)) {
    frontier.groupings.push_back(
        row_of("groups " + to_text(grouping), exits, stats::padding_of(exits, grouping), attribute));
  }
  const double constant = stats::constant_time(exits).delay;
  for (int i = 1; i < optimum_points; ++i) {
    const double delay = constant * i / optimum_points;
    frontier.optimum.push_back(
        row_of("optimum", exits, stats::optimal_padding_within(exits, delay), attribute));
  }
  constexpr int kCurve = 100;
  for (int i = 0; i <= kCurve; ++i) {
    const stats::Padding padding = stats::optimal_padding_within(exits, constant * i / kCurve);
    frontier.curve_delays_ns.push_back(padding.delay);
    frontier.curve_bits.push_back(padding.bits);
  }
  for (const double sigma : sigmas_ns) {
    const stats::DelayLeak leak = stats::half_normal_leak(exits, sigma);
    frontier.time_guard.push_back({fmt::format("TimeGuard sigma {:.6g} ms", sigma / 1e6),
                                   leak.delay,
                                   leak.bits,
                                   stats::optimal_padding_within(exits, leak.delay).lower_bound_bits,
                                   {},
                                   {}});
  }
  return frontier;
}

std::string text_of(const Frontier& frontier) {
  Table table({"padding",
               "delay ms",
               "of the mean %",
               "bits on the exit",
               "least possible",
               "guess bits",
               "bits on the class"});
  for (const auto* rows : {&frontier.groupings, &frontier.optimum, &frontier.time_guard}) {
    for (const FrontierRow& row : *rows) {
      table.row({row.padding,
                 fmt::format("{:.6f}", row.delay_ns / 1e6),
                 fmt::format("{:.1f}", 100 * row.delay_ns / frontier.mean_ns),
                 fmt::format("{:.4f}", row.bits),
                 fmt::format("{:.4f}", row.bound_bits),
                 or_dash(row.guess_bits),
                 or_dash(row.attribute_bits)});
    }
  }
  return table.text();
}

nlohmann::ordered_json json_of(const Frontier& frontier) {
  const auto rows_of = [](const std::vector<FrontierRow>& rows) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const FrontierRow& row : rows) {
      nlohmann::ordered_json object{{"padding", row.padding},
                                    {"delay_ns", row.delay_ns},
                                    {"bits", row.bits},
                                    {"least_possible_bits", row.bound_bits}};
      if (row.guess_bits) object["min_entropy_bits"] = *row.guess_bits;
      if (row.attribute_bits) object["class_bits"] = *row.attribute_bits;
      list.push_back(object);
    }
    return list;
  };
  return {{"mean_ns", frontier.mean_ns},
          {"groupings", rows_of(frontier.groupings)},
          {"optimum", rows_of(frontier.optimum)},
          {"time_guard", rows_of(frontier.time_guard)}};
}

std::string plot_of(const Frontier& frontier, const std::string& subtitle) {
  report::XyChart chart;
  chart.frame.title = "What an answer's time tells about the exit";
  chart.frame.subtitle = subtitle;
  chart.frame.x.label = "mean extra delay [ms]";
  chart.frame.y.label = "bits";
  report::Series least{.name = "least possible", .y = frontier.curve_bits};
  for (const double delay : frontier.curve_delays_ns) least.x.push_back(delay / 1e6);
  chart.series.push_back(std::move(least));
  chart.series.push_back(series_of("exits in groups", frontier.groupings, report::Draw::kPoints));
  if (!frontier.time_guard.empty()) {
    chart.series.push_back(series_of("TimeGuard", frontier.time_guard, report::Draw::kLineAndPoints));
  }
  return report::standalone_svg(report::render(chart));
}

}  // namespace offramp::tools
