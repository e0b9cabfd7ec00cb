#include "tools/verbs/stats/timing_text.h"

#include "tools/frame/table.h"
#include "tools/report/xy_chart.h"

#include <fmt/format.h>

#include <cmath>

namespace offramp::tools {

nlohmann::ordered_json json_of(const stats::TimingVerdict& v, const stats::TimingTestOptions& o) {
  const auto known = [&](auto value) {
    return v.compared ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
  };
  nlohmann::ordered_json json{{"verdict", stats::to_text(v.outcome)},
                              {"reason", v.reason},
                              {"limit_ns", o.limit_ns},
                              {"alpha", o.alpha},
                              {"n_a", v.n_a},
                              {"n_b", v.n_b},
                              {"p_value", known(v.p_value)},
                              {"effect_ns",
                               {{"decile", known(v.largest + 1)},
                                {"estimate", known(v.effect.estimate)},
                                {"low", known(v.effect.low)},
                                {"high", known(v.effect.high)}}},
                              {"classes_drawn", v.classes_drawn},
                              {"block", v.block},
                              {"correlation_time", v.correlation_time},
                              {"tick_ns", v.tick_ns},
                              {"control_p_value", v.control_p_value}};
  if (v.outcome == stats::TimingOutcome::kInconclusive) {
    json["measurements_needed"] = std::isfinite(v.more_needed) ? nlohmann::ordered_json(v.more_needed)
                                                               : nlohmann::ordered_json(nullptr);
  }
  json["deciles"] = nlohmann::ordered_json::array();
  for (std::size_t j = 0; j < stats::kDeciles; ++j) {
    json["deciles"].push_back({{"decile", j + 1},
                               {"difference_ns", known(v.difference[j])},
                               {"low", known(v.low[j])},
                               {"high", known(v.high[j])}});
  }
  return json;
}

std::string sentence(const stats::TimingVerdict& v) {
  return fmt::format("{}: {}", stats::to_text(v.outcome), v.reason);
}

std::string decile_table(const stats::TimingVerdict& v) {
  Table table({"decile", "b - a, ns", "from", "to"});
  for (std::size_t j = 0; j < stats::kDeciles; ++j) {
    table.row({std::to_string(j + 1),
               fmt::format("{:.1f}", v.difference[j]),
               fmt::format("{:.1f}", v.low[j]),
               fmt::format("{:.1f}", v.high[j])});
  }
  return table.text();
}

std::string decile_chart(const std::string& title,
                         const std::string& subtitle,
                         const stats::TimingVerdict& v,
                         double limit_ns) {
  report::XyChart chart;
  chart.frame.title = title;
  chart.frame.subtitle = subtitle;
  chart.frame.x.label = "decile of the times";
  chart.frame.y.label = "difference, ns";
  report::Series series{.name = "b - a", .draw = report::Draw::kLineAndPoints};
  for (std::size_t j = 0; j < stats::kDeciles; ++j) {
    series.x.push_back(static_cast<double>(j + 1));
    series.y.push_back(v.difference[j]);
    series.low.push_back(v.low[j]);
    series.high.push_back(v.high[j]);
  }
  chart.series.push_back(std::move(series));
  chart.rules.push_back({.at = limit_ns, .label = "limit", .vertical = false});
  chart.rules.push_back({.at = -limit_ns, .vertical = false});
  return report::render(chart);
}

}  // namespace offramp::tools
