#include "tools/verbs/evade/text.h"

#include "tools/verbs/interval_json.h"

#include "base/atomic_file.h"
#include "tools/report/bar_chart.h"
#include "tools/report/svg_writer.h"
#include "tools/report/xy_chart.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

namespace offramp::tools::evade {

using namespace attacks::evasion;
using nlohmann::ordered_json;

namespace {

ordered_json number_or_null(double v) { return std::isfinite(v) ? ordered_json(v) : ordered_json(nullptr); }

}  // namespace

ordered_json json_of(const stats::Interval& i) { return interval_json(i); }

ordered_json json_of(const Rate& rate) {
  ordered_json json{{"count", rate.count}, {"of", rate.of}, {"share", nullptr}};
  if (rate.share) {
    json["share"] = rate.share->estimate;
    json["low"] = rate.share->low;
    json["high"] = rate.share->high;
  }
  return json;
}

ordered_json json_of(const ExitChange& c) {
  return {
      {"mean", c.mean},
      {"at_least_1", json_of(c.at_least_one)},
      {"at_least_2", json_of(c.at_least_two)},
      {"earlier", json_of(c.negative)},
      {"exits_clean", c.clean},
      {"exits_attacked", c.attacked},
      {"cost_increase", c.cost_increase},
      {"efficacy_clean", c.efficacy_clean},
      {"efficacy_attacked", c.efficacy_attacked},
      {"correlation_last_confidence", c.correlation ? ordered_json(*c.correlation) : ordered_json(nullptr)}};
}

ordered_json json_of(const FirstModified& f) {
  return {{"at", f.all},
          {"at_where_all_agreed", f.agreed},
          {"first_exit", json_of(f.first_exit_all)},
          {"first_exit_where_all_agreed", json_of(f.first_exit_agreed)}};
}

ordered_json json_of(const EarlyTransfer& e) {
  return {{"early_success", json_of(e.success)},
          {"t1", json_of(e.t1)},
          {"t2", e.t2 ? ordered_json(*e.t2) : ordered_json(nullptr)},
          {"t2_clean", e.clean_t2}};
}

ordered_json json_of(const VictimFlags& f) {
  return {{"probed", f.probed},
          {"zero_gradient", f.zero_gradient},
          {"random", f.random},
          {"discontinuous", f.discontinuous},
          {"flagged", f.any()}};
}

ordered_json json_of(const MadeExamples& made) {
  return {{"psnr_db", number_or_null(made.psnr_db)},
          {"mean_l2", made.l2},
          {"largest_linf", made.linf},
          {"mean_macs", made.mean_macs},
          {"seconds", made.seconds > 0 ? ordered_json(made.seconds) : ordered_json(nullptr)}};
}

std::string percent(const Rate& rate) {
  return rate.share ? fmt::format("{:.1f}", 100 * rate.share->estimate) : "-";
}

std::string percent_with_interval(const Rate& rate) {
  if (!rate.share) return "-";
  return fmt::format(
      "{:.1f} [{:.1f}, {:.1f}]", 100 * rate.share->estimate, 100 * rate.share->low, 100 * rate.share->high);
}

std::string warning_of(const VictimFlags& f, const std::string& name) {
  std::string text;
  const auto say = [&](bool wrong, double share, const char* what) {
    if (wrong)
      text += fmt::format(
          "{}{:.0f} % of {} probed images {}", text.empty() ? "" : "; ", 100 * share, f.probed, what);
  };
  say(f.zero_gradient > 0.5, f.zero_gradient, "have a gradient of zero");
  say(f.random > 0, f.random, "get another answer the second time");
  say(f.discontinuous > 0.5, f.discontinuous, "change by what the gradient does not explain");
  return text.empty() ? "" : name + ": " + text + ": an attack by gradients that fails proves little here";
}

std::string exit_bars(const std::string& title, std::span<const ExitSeries> series) {
  report::BarChart chart;
  chart.title = title;
  chart.value_axis.label = "share of the images, %";
  chart.unit = " %";
  chart.digits = 3;
  std::size_t exits = 0;
  for (const ExitSeries& s : series) exits = std::max(exits, s.counts.size());
  for (std::size_t e = 0; e < exits; ++e) chart.categories.push_back(fmt::format("exit {}", e + 1));
  for (const ExitSeries& s : series) {
    const double n = std::max(1, std::accumulate(s.counts.begin(), s.counts.end(), 0));
    report::BarSeries bars{.name = s.name};
    for (std::size_t e = 0; e < exits; ++e)
      bars.values.push_back(e < s.counts.size() ? 100 * s.counts[e] / n : std::nan(""));
    chart.series.push_back(std::move(bars));
  }
  return report::render(chart);
}

std::string delta_density(const std::string& title, std::span<const DeltaSeries> series, int num_exits) {
  report::XyChart chart;
  chart.frame.title = title;
  chart.frame.x.label = "exits later than the clean image";
  chart.frame.y.label = "share of the images";
  for (const DeltaSeries& s : series) {
    report::Series line{.name = s.name, .draw = report::Draw::kLineAndPoints};
    for (int d = -(num_exits - 1); d < num_exits; ++d) {
      line.x.push_back(d);
      line.y.push_back(static_cast<double>(std::count(s.delta.begin(), s.delta.end(), d)) /
                       static_cast<double>(std::max<std::size_t>(1, s.delta.size())));
    }
    chart.series.push_back(std::move(line));
  }
  return report::render(chart);
}

void write_plot(RunFolder& folder, const std::string& name, const std::string& svg) {
  write_file_atomically(folder.folder("plots") / (name + ".svg"), report::standalone_svg(svg));
}

}  // namespace offramp::tools::evade
