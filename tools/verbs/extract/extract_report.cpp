#include "tools/verbs/extract/extract_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/atomic_file.h"
#include "stats/kde.h"
#include "stats/search/threshold_choice.h"
#include "tools/report/bar_chart.h"
#include "tools/report/figures.h"
#include "tools/report/html_report.h"
#include "tools/report/image_strip.h"
#include "tools/report/text.h"
#include "tools/report/xy_chart.h"
#include "tools/verbs/extract/score_text.h"

namespace offramp::tools {
namespace {

using report::exit_colour;
using report::HtmlReport;

std::string percent(double share, int decimals = 1) {
  return fmt::format("{:.{}f} %", 100 * share, decimals);
}
std::string exit_name(std::size_t index) { return fmt::format("exit {}", index + 1); }

// Density of the running times and the thresholds found. Bars are coloured by the exit really taken: the
// attack sees grey.
std::string time_density(const attacks::ExtractionOutcome& o) {
  const auto& times = o.estimate.statistic_ns;
  std::vector<double> sorted = times;
  std::sort(sorted.begin(), sorted.end());
  // Slow outliers would squeeze the figure: it ends half a gap behind the last exit's 99th percentile.
  const double low = sorted.front();
  const double high = sorted[static_cast<std::size_t>(0.995 * static_cast<double>(sorted.size() - 1))];
  constexpr int kPoints = 600;
  report::TimeDensity figure;
  figure.title = "Running time of each query image";
  figure.subtitle = fmt::format(
      "{} of {} repetitions{}; lines between exits are the thresholds that the attack found",
      o.estimate.statistic == stats::TimeStatistic::kQuantile20 ? "20 % quantile"
                                                                : stats::name_of(o.estimate.statistic),
      o.trace.repetitions,
      o.estimate.evened ? ", machine's speed divided out" : "");
  figure.x_label = "time, microseconds";
  figure.begin_ns = std::max(0.0, low - 0.05 * (high - low));
  figure.end_ns = high + 0.05 * (high - low);
  figure.times_ns = times;
  figure.exit.assign(o.true_exits.begin(), o.true_exits.end());
  for (std::size_t e = 0; e < o.exits.counts.size(); ++e)
    figure.exit_names.push_back("left at " + exit_name(e));
  figure.thresholds_ns = o.estimate.thresholds_ns;
  const double width = figure.end_ns - figure.begin_ns;
  for (int i = 0; i <= kPoints; ++i) figure.curve_ns.push_back(figure.begin_ns + width * i / kPoints);
  // no finer than the bars beside it
  figure.curve =
      stats::kde_binned(times, figure.curve_ns, std::max(o.estimate.bandwidth_ns, width / figure.bins));
  figure.curve_name = "what the attack sees: density of all times";
  return report::time_density(figure);
}

std::string exit_confusion(const attacks::ExtractionOutcome& o) {
  return report::confusion(
      {.title = "Exit taken against exit estimated",
       .subtitle = fmt::format("{} of {} query images right", percent(o.exits.accuracy, 2), o.trace.samples),
       .row_label = "taken",
       .column_label = "estimated"},
      o.exits.counts,
      exit_name);
}

// Accuracy and cost of every net for one threshold at all exits from 0 to 1, and where each one works.
std::string accuracy_and_cost(const attacks::ExtractionOutcome& o, const data::ImageSet& test) {
  report::XyChart chart;
  chart.frame.title = "Accuracy and cost on the test set";
  chart.frame.subtitle = "lines: one threshold for all exits, from 0 to 1; points: where each net works";
  chart.frame.x.label = "cost, share of the victim without early exit";
  chart.frame.y.label = "accuracy, %";
  const double whole = static_cast<double>(o.nets.front()->costs().plain.ops_profiler);
  std::vector<double> taus;
  for (int i = 0; i <= 50; ++i) taus.push_back(i / 50.0);
  for (const double tau : {0.99, 0.993, 0.996, 0.998, 0.999, 0.9995, 0.9999}) taus.push_back(tau);
  std::sort(taus.begin(), taus.end());
  for (std::size_t c = 0; c < o.contestants.size(); ++c) {
    const auto& net = *o.contestants[c].net;
    if (net.num_exits() > 1) {
      const auto table = attacks::exit_table(net, test);
      const auto width = static_cast<std::size_t>(net.num_exits());
      std::vector<int> correct;
      for (std::size_t i = 0; i < table.predicted.size(); ++i)
        correct.push_back(table.predicted[i] == test.labels[i / width] ? 1 : 0);
      std::vector<double> costs;
      for (const auto& cost : net.costs().exits) costs.push_back(static_cast<double>(cost.ops_profiler));
      const auto sweep = stats::sweep_thresholds({.confidences = table.confidence,
                                                  .correct = correct,
                                                  .costs = costs,
                                                  .rule = stats::ExitRule::kAbove},
                                                 taus);
      report::Series line{
          .name = o.contestants[c].name, .colour = static_cast<int>(c), .dash = static_cast<int>(c)};
      for (const auto& point : sweep) {
        line.x.push_back(point.mean_cost / whole);
        line.y.push_back(100 * point.accuracy);
      }
      chart.series.push_back(std::move(line));
    }
    const auto& score = o.scores[c];
    chart.series.push_back({.name = score.name + ", as it works",
                            .x = {score.spending.ops_profiler / (whole * test.n)},
                            .y = {100 * score.accuracy},
                            .draw = report::Draw::kPoints,
                            .point_labels = {score.name},
                            .colour = static_cast<int>(c)});
  }
  return report::render(chart);
}

std::string copy_training(const attacks::ExtractionOutcome& o) {
  report::XyChart chart;
  chart.frame.title = "Training of the copies";
  chart.frame.subtitle = "last exit: share of query images where it says what the victim said";
  chart.frame.width = 520;
  chart.frame.x.label = "epoch";
  chart.frame.y.label = "agreement, %";
  for (std::size_t f = 0; f < o.histories.size(); ++f) {
    report::Series last{.name = o.fit_names[f] + ", last exit", .colour = static_cast<int>(f) + 1};
    report::Series first{
        .name = o.fit_names[f] + ", first exit", .colour = static_cast<int>(f) + 1, .dash = 1};
    for (const auto& epoch : o.histories[f]) {
      last.x.push_back(epoch.epoch);
      last.y.push_back(100 * epoch.exit_agreement.back());
      first.x.push_back(epoch.epoch);
      first.y.push_back(100 * epoch.exit_agreement.front());
    }
    chart.series.push_back(std::move(last));
    chart.series.push_back(std::move(first));
  }
  return report::render(chart);
}

std::string strategy_loss(const attacks::ExtractionOutcome& o) {
  report::XyChart chart;
  chart.frame.title = "Losses of our copy";
  chart.frame.subtitle = "KL of the last exit, and the strategy hinge (before its weight)";
  chart.frame.width = 520;
  chart.frame.x.label = "epoch";
  chart.frame.y = {.label = "mean per image", .log = true};
  report::Series kl{.name = "KL, last exit"}, hinge{.name = "strategy hinge"};
  for (const auto& epoch : o.histories.back()) {
    kl.x.push_back(epoch.epoch);
    kl.y.push_back(epoch.exit_loss.back());
    hinge.x.push_back(epoch.epoch);
    hinge.y.push_back(epoch.strategy_loss);
  }
  chart.series = {kl, hinge};
  return report::render(chart);
}

std::string victim_training(const std::vector<std::vector<double>>& accuracy) {
  report::XyChart chart;
  chart.frame.title = "Training of the victim";
  chart.frame.subtitle = "accuracy of each exit on the (augmented) training images";
  chart.frame.width = 520;
  chart.frame.x.label = "epoch";
  chart.frame.y.label = "accuracy, %";
  for (std::size_t e = 0; e < accuracy.front().size(); ++e) {
    report::Series line{.name = exit_name(e), .colour = exit_colour(e), .dash = static_cast<int>(e % 4)};
    for (std::size_t epoch = 0; epoch < accuracy.size(); ++epoch) {
      line.x.push_back(static_cast<double>(epoch + 1));
      line.y.push_back(100 * accuracy[epoch][e]);
    }
    chart.series.push_back(std::move(line));
  }
  return report::render(chart);
}

// Our copy's confidence at exit e: images that left the victim there, and images that went on.
std::string searched_text(const attacks::ExtractionOutcome& o) {
  if (o.searched == 0) return "The copy has the victim's thresholds: none were searched.";
  const stats::SearchResult& search = o.strategy.search;
  return fmt::format(
      "Thresholds of the copy, searched on {}{} query images so that as many as possible leave where the victim "
      "let them leave: {:g}{}.",
      o.searched < static_cast<std::size_t>(o.trace.samples) ? "the first " : "",
      o.searched,
      o.strategy.joint,
      !o.jointly       ? " (each exit was searched by itself)"
      : search.optimal ? ", proven to be the most that any thresholds reach"
                       : "");
}

std::vector<std::string> confidence_by_exit(const attacks::ExtractionOutcome& o,
                                            const data::ImageSet& queries) {
  std::vector<std::string> figures;
  const auto& ours = o.contestants.back();
  const auto table = attacks::exit_table(*ours.net, queries);
  const auto width = static_cast<std::size_t>(ours.net->num_exits());
  for (std::size_t e = 0; e + 1 < width; ++e) {
    std::vector<double> left, went_on;
    const auto here = static_cast<std::int32_t>(e + 1);
    for (std::size_t i = 0; i < o.fitted_exits.size(); ++i) {
      if (o.fitted_exits[i] == here) left.push_back(table.confidence[i * width + e]);
      if (o.fitted_exits[i] > here) went_on.push_back(table.confidence[i * width + e]);
    }
    report::XyChart chart;
    chart.frame.title = "Confidence at " + exit_name(e);
    chart.frame.width = 340;
    chart.frame.height = 260;
    chart.frame.x = {.label = "largest probability", .min = 0.0, .max = 1.0};
    chart.frame.y.label = "images";
    const auto bins = [](const std::string& name, const std::vector<double>& values, int colour) {
      auto h = report::make_histogram(name, values, {.low = 0, .high = 1, .count = 40});
      h.colour = colour;
      return h;
    };
    chart.histograms = {bins("victim went on", went_on, 7), bins("victim left here", left, exit_colour(e))};
    chart.rules = {
        {.at = ours.policy.thresholds[e], .label = fmt::format("T = {:.3f}", ours.policy.thresholds[e])}};
    figures.push_back(report::render(chart));
  }
  return figures;
}

std::string share_per_exit(const attacks::ExtractionOutcome& o) {
  report::BarChart chart;
  chart.title = "Where test images leave";
  chart.value_axis.label = "share of the test set, %";
  chart.unit = " %";
  chart.digits = 3;
  std::size_t exits = 0;
  for (const auto& s : o.scores) exits = std::max(exits, s.spending.per_exit.size());
  for (std::size_t e = 0; e < exits; ++e) chart.categories.push_back(exit_name(e));
  for (std::size_t c = 0; c < o.scores.size(); ++c) {
    report::BarSeries bars{.name = o.scores[c].name, .colour = static_cast<int>(c)};
    const auto n = static_cast<double>(o.scores[c].on_test.exit.size());
    for (std::size_t e = 0; e < exits; ++e)
      bars.values.push_back(e < o.scores[c].spending.per_exit.size()
                                ? 100 * static_cast<double>(o.scores[c].spending.per_exit[e]) / n
                                : std::nan(""));
    chart.series.push_back(std::move(bars));
  }
  return report::render(chart);
}

// The first images of the test set that left the victim at each exit.
std::string samples(const attacks::ExtractionOutcome& o,
                    const data::ImageSet& test,
                    const std::vector<std::string>& names) {
  constexpr int kEach = 7;
  report::ImageStrip strip;
  strip.title = "Test images and the exit they took";
  strip.subtitle = "a row for each exit of the victim; below: the class it said, and where our copy left";
  strip.cell = 84;
  strip.width = 720;
  const auto& victim = o.scores.front().on_test;
  const auto& ours = o.scores.back().on_test;
  for (std::size_t e = 0; e < o.exits.counts.size(); ++e) {
    int shown = 0;
    for (int i = 0; i < test.n && shown < kEach; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (victim.exit[at] != static_cast<std::int32_t>(e + 1)) continue;
      ++shown;
      const auto pixels = test.image(i);
      const auto said = static_cast<std::size_t>(victim.label[at]);
      strip.images.push_back({.pixels = {pixels.begin(), pixels.end()},
                              .h = test.h,
                              .w = test.w,
                              .c = test.c,
                              .caption = said < names.size() ? names[said] : fmt::format("class {}", said),
                              .detail = fmt::format("exit {}; copy {}", e + 1, ours.exit[at]),
                              .colour = exit_colour(e)});
    }
  }
  return report::render(strip);
}

report::Table score_table(const attacks::ExtractionOutcome& o) {
  using report::Align;
  report::Table table;
  table.columns = {{"net", Align::kLeft},
                   {"accuracy"},
                   {"class + exit as victim"},
                   {"class"},
                   {"exit"},
                   {"class + exit, queries"},
                   {"cost, 10^9 ops"},
                   {"cost ratio"},
                   {"MAC ratio"},
                   {"time per image"},
                   {"time ratio"}};
  for (const auto& s : o.scores)
    table.rows.push_back({s.name,
                          percent(s.accuracy, 2),
                          percent(s.test.class_and_exit, 2),
                          percent(s.test.only_class, 2),
                          percent(s.test.only_exit, 2),
                          percent(s.queries.class_and_exit, 2),
                          fmt::format("{:.2f}", s.spending.ops_profiler * 1e-9),
                          fmt::format("{:.3f}", s.ratio_ops_profiler),
                          fmt::format("{:.3f}", s.ratio_macs),
                          s.timed() ? fmt::format("{:.1f} us", s.mean_ns * 1e-3) : "not measured",
                          s.timed() ? fmt::format("{:.3f}", s.ratio_time) : "-"});
  table.strong_rows = {o.scores.size() - 1};
  table.caption =
      "Test set. Cost: total over the set, operations as the papers count them; MACs: true "
      "multiply-accumulates; "
      "time: batch 1, one thread, least of several passes. Ratios are to the victim.";
  return table;
}

}  // namespace

void write_extraction_report(const std::filesystem::path& path,
                             const attacks::ExtractionOutcome& o,
                             const data::ImageSet& queries,
                             const data::ImageSet& test,
                             const ReportContext& context) {
  const auto& victim = o.scores.front();
  const auto& ours = o.scores.back();
  HtmlReport page(context.title, context.subtitle);
  page.section("Result");
  page.facts({{"accuracy of the copy", percent(ours.accuracy), "victim " + percent(victim.accuracy)},
              {"cost of the copy", fmt::format("{:.2f} x", ours.ratio_ops_profiler), "of the victim's"},
              {"same class and exit", percent(ours.test.class_and_exit), "of the test images"},
              {"exits found from time",
               percent(o.exits.accuracy, 2),
               fmt::format("{} of {} exits", o.estimate.num_exits, victim.num_exits)}});
  page.paragraph(verdict(o));
  page.table(score_table(o));
  page.bullets({"victim: " + context.victim_text,
                "queries: " + context.queries_text,
                "test set: " + context.test_text});

  page.section("Exits from running time");
  page.paragraph(o.trace.info.repetitions_because + ".");
  page.figure(time_density(o),
              "Colours show the exit that was really taken, which only the owner knows; the attack sees the "
              "density.");
  page.figure(exit_confusion(o), "Rows sum to the images that took that exit.");
  page.note(o.estimate.reliable ? report::Note::kGood : report::Note::kWarning, o.estimate.advice);

  page.section("Accuracy and cost");
  page.figure(accuracy_and_cost(o, test), "Further left is cheaper, further up is better.");
  page.figure(share_per_exit(o), "A copy that costs what the victim costs leaves where the victim leaves.");

  page.section("Training");
  std::vector<std::string> curves;
  if (!context.victim_accuracy.empty()) curves.push_back(victim_training(context.victim_accuracy));
  curves.push_back(copy_training(o));
  curves.push_back(strategy_loss(o));
  page.figures(curves, "");

  const auto confidence = confidence_by_exit(o, queries);
  if (!confidence.empty()) {
    page.section("Output strategy");
    page.paragraph(searched_text(o));
    page.figures(confidence,
                 o.exits_told
                     ? "Our copy's confidence on the query images, by what the victim did."
                     : "Our copy's confidence on the query images, by what the victim was estimated to do.");
  }

  page.section("Images");
  page.figure(samples(o, test, context.class_names), "");

  page.section("Configuration");
  page.folded("config.toml", context.config);
  page.folded("env.json", context.environment);
  write_file_atomically(path, page.html());
}

}  // namespace offramp::tools
