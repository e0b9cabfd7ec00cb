// The page of `offramp trace`: the picture, its course over the cost, and what every exit says.
#include "tools/report/bar_chart.h"
#include "tools/report/figures.h"
#include "tools/report/html_report.h"
#include "tools/report/image_strip.h"
#include "tools/report/text.h"
#include "tools/report/xy_chart.h"
#include "tools/verbs/net/trace.h"

#include <fmt/format.h>

namespace offramp::tools {
namespace {

std::string picture_figure(const ExitTrace& trace) {
  report::ImageStrip strip;
  strip.cell = 160;
  strip.width = 220;
  strip.images.push_back({.pixels = trace.seen.pixels,
                          .h = trace.seen.h,
                          .w = trace.seen.w,
                          .c = trace.seen.c,
                          .caption = trace.truth.empty() ? "as the net sees it" : trace.truth,
                          .detail = fmt::format("{}x{}", trace.seen.h, trace.seen.w),
                          .colour = report::exit_colour(trace.stopped())});
  return report::render(strip);
}

// Confidence over the cost so far: the exits that were computed, those that were not, and the thresholds.
std::string course_figure(const ExitTrace& trace) {
  report::XyChart chart;
  chart.frame.title = "How sure, after how much work";
  chart.frame.subtitle = "the picture leaves at the first exit whose confidence reaches the threshold";
  chart.frame.x = {.label = "share of the net's MACs, %", .min = 0.0, .max = 105.0};
  chart.frame.y = {.label = "confidence", .min = 0.0, .max = 1.05};
  report::Series computed{.name = "computed", .draw = report::Draw::kLineAndPoints, .colour = 0};
  report::Series skipped{.name = "not reached", .draw = report::Draw::kLineAndPoints, .colour = 7, .dash = 1};
  report::Series thresholds{.name = "threshold", .draw = report::Draw::kPoints, .colour = 3};
  const auto add = [](report::Series& series, double x, double y, std::string label) {
    series.x.push_back(x);
    series.y.push_back(y);
    series.point_labels.push_back(std::move(label));
  };
  for (std::size_t e = 0; e < trace.exits.size(); ++e) {
    const double x = 100 * trace.exits[e].share;
    if (e <= trace.stopped()) add(computed, x, trace.exits[e].confidence, trace.said_by(e));
    if (e == trace.stopped()) add(skipped, x, trace.exits[e].confidence, "");
    if (e > trace.stopped()) add(skipped, x, trace.exits[e].confidence, trace.said_by(e));
    if (e < trace.policy.thresholds.size()) add(thresholds, x, trace.policy.thresholds[e], "");
  }
  chart.series.push_back(std::move(computed));
  if (skipped.x.size() > 1) chart.series.push_back(std::move(skipped));
  if (!thresholds.x.empty()) chart.series.push_back(std::move(thresholds));
  return report::render(chart);
}

std::string exit_figure(const ExitTrace& trace, std::size_t e) {
  const ExitTrace::Exit& exit = trace.exits[e];
  report::BarChart chart{.title = fmt::format("exit {}", e + 1), .subtitle = decision_text(trace, e)};
  chart.width = 420;
  chart.value_axis = {.label = "probability", .min = 0.0, .max = 1.0};
  report::BarSeries bars{.colour = report::exit_colour(e)};
  for (std::size_t k = 0; k < trace.top; ++k) {
    chart.categories.push_back(trace.class_names[exit.ranking[k]]);
    bars.values.push_back(exit.probabilities[exit.ranking[k]]);
  }
  chart.series.push_back(std::move(bars));
  return report::render(chart);
}

report::Table exit_table(const ExitTrace& trace) {
  using report::Align;
  report::Table table{.columns = {{"exit"},
                                  {"says", Align::kLeft},
                                  {"confidence"},
                                  {"threshold"},
                                  {"decision", Align::kLeft},
                                  {"MACs"},
                                  {"share %"},
                                  {"ms"}}};
  for (std::size_t e = 0; e < trace.exits.size(); ++e) {
    const ExitTrace::Exit& exit = trace.exits[e];
    table.rows.push_back(
        {std::to_string(e + 1),
         trace.said_by(e),
         report::fixed(exit.confidence, 4),
         e < trace.policy.thresholds.size() ? fmt::format("{:.6g}", trace.policy.thresholds[e]) : "-",
         e > trace.stopped()    ? "not reached"
         : e == trace.stopped() ? "leaves"
                                : "goes on",
         report::with_commas(exit.macs),
         report::fixed(100 * exit.share, 1),
         exit.ms < 0 ? "-" : report::fixed(exit.ms, 3)});
  }
  table.strong_rows = {trace.stopped()};
  return table;
}

}  // namespace

std::string trace_page(const ExitTrace& trace) {
  const ExitTrace::Exit& stop = trace.exits[trace.stopped()];
  report::HtmlReport page("One picture through the exits",
                          fmt::format("{}; {}, {} exits", trace.picture, trace.net, trace.exits.size()));
  page.section("The answer");
  std::vector<report::Fact> facts = {
      {"answer", trace.said_by(trace.answered()), trace.truth.empty() ? "" : "the label is " + trace.truth},
      {"left at exit", std::to_string(trace.stopped() + 1), fmt::format("of {}", trace.exits.size())},
      {"MACs", report::fixed(100 * stop.share, 1) + " %", "of the whole net"}};
  if (stop.ms >= 0) facts.push_back({"time", report::fixed(stop.ms, 3) + " ms", "batch 1, median"});
  page.facts(facts);
  page.paragraph(answer_text(trace));
  page.figure(picture_figure(trace), "The pixels that the net was given.");
  page.section("The course");
  page.figure(course_figure(trace),
              "Exits behind the one where the picture left were computed for this page alone.");
  page.table(exit_table(trace));
  page.section("Every exit");
  std::vector<std::string> figures;
  for (std::size_t e = 0; e < trace.exits.size(); ++e) figures.push_back(exit_figure(trace, e));
  page.figures(figures, fmt::format("The {} most probable classes of each exit.", trace.top));
  return page.html();
}

}  // namespace offramp::tools
