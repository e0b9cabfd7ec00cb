#include "tests/tools/report/example_report.h"

#include <cmath>
#include <numbers>

#include "tools/report/bar_chart.h"
#include "tools/report/heat_map.h"
#include "tools/report/html_report.h"
#include "tools/report/image_strip.h"
#include "tools/report/text.h"
#include "tools/report/xy_chart.h"

namespace offramp::report {
namespace {

// A deterministic stand-in for noise.
double wobble(int i) { return std::sin(i * 12.9898) * .5 + std::sin(i * 78.233) * .5; }

std::string training_curves() {
  XyChart chart;
  chart.frame = {.title = "Loss while training",
                 .subtitle = "mean of 3 seeds, band: least and greatest",
                 .x = {.label = "epoch"},
                 .y = {.label = "joint loss"}};
  for (int k = 0; k < 4; ++k) {
    Series s{.name = "exit " + std::to_string(k + 1)};
    for (int e = 1; e <= 60; ++e) {
      const double y =
          .25 + (2.2 - .15 * k) * std::exp(-e / (9. + k)) + .2 / (k + 1.) + .02 * wobble(e + 100 * k);
      s.x.push_back(e);
      s.y.push_back(y);
      s.low.push_back(y - .03 - .5 / (e + 3));
      s.high.push_back(y + .03 + .5 / (e + 3));
    }
    chart.series.push_back(s);
  }
  chart.rules = {{30, "lr x 0.1"}, {48, "lr x 0.1"}};
  return render(chart);
}

std::string runtime_density() {
  std::vector<double> times;
  Series density{.name = "kernel density", .colour = 1};
  const double centre[4] = {.82, 1.31, 1.86, 2.35}, share[4] = {.45, .25, .18, .12};
  for (int k = 0; k < 4; ++k)
    for (int i = 0; i < 4000 * share[k]; ++i)
      times.push_back(centre[k] + .05 * (wobble(i + 3000 * k) + wobble(3 * i + 7)));
  for (int i = 0; i <= 400; ++i) {
    const double t = .55 + i * .005;
    double y = 0;
    for (int k = 0; k < 4; ++k)
      y += share[k] / (.05 * std::sqrt(2 * std::numbers::pi)) *
           std::exp(-(t - centre[k]) * (t - centre[k]) / (2 * .05 * .05));
    density.x.push_back(t);
    density.y.push_back(y);
  }
  XyChart chart;
  chart.frame = {.title = "Runtimes of 4,000 queries",
                 .subtitle = "four peaks: four exits",
                 .x = {.label = "time per query, ms"},
                 .y = {.label = "density"}};
  chart.histograms = {make_histogram("queries", times, 90, true)};
  chart.series = {density};
  chart.rules = {{1.06, "exit 1 | 2"}, {1.58, "exit 2 | 3"}, {2.1, "exit 3 | 4"}};
  return render(chart);
}

std::string accuracy_cost() {
  XyChart chart;
  chart.frame = {.title = "Accuracy against cost",
                 .x = {.label = "relative cost (multiply-adds)", .min = 0, .max = 1.05},
                 .y = {.label = "accuracy, %"}};
  Series victim{.name = "victim", .dash = 0}, ours{.name = "substitute (ours)"},
      knockoff{.name = "substitute (Knockoff)", .dash = 1};
  for (int i = 0; i <= 20; ++i) {
    const double c = .28 + .036 * i;
    victim.x.push_back(c), victim.y.push_back(91.5 - 9 * std::exp(-(c - .2) * 6));
    ours.x.push_back(c + .01), ours.y.push_back(89.4 - 10 * std::exp(-(c - .2) * 5.5));
    knockoff.x.push_back(c + .03), knockoff.y.push_back(86 - 13 * std::exp(-(c - .2) * 4));
  }
  Series points{.name = "operating points",
                .x = {.46, .47, .71},
                .y = {90.9, 88.6, 85.1},
                .low = {90.4, 88, 84.1},
                .high = {91.4, 89.2, 86.1},
                .draw = Draw::kPoints,
                .point_labels = {"victim 46 %", "ours 47 %", "Knockoff 71 %"},
                .colour = 7};
  chart.series = {victim, ours, knockoff, points};
  return render(chart);
}

std::string scaling() {
  XyChart chart;
  chart.frame = {.title = "Search time",
                 .x = {.label = "queries", .log = true},
                 .y = {.label = "seconds", .log = true},
                 .width = 420,
                 .height = 320};
  chart.series = {{.name = "sweep",
                   .x = {100, 1000, 1e4, 1e5},
                   .y = {2e-5, 1.5e-4, 2.1e-3, .026},
                   .draw = Draw::kLineAndPoints},
                  {.name = "branch and bound",
                   .x = {100, 1000, 1e4, 1e5},
                   .y = {1e-4, .0016, .022, .28},
                   .draw = Draw::kLineAndPoints}};
  return render(chart);
}

std::string empty() {
  XyChart chart;
  chart.frame = {
      .title = "Nothing measured", .x = {.label = "x"}, .y = {.label = "y"}, .width = 420, .height = 320};
  chart.series = {{.name = "none", .x = {1, 2}, .y = {NAN, NAN}}};
  return render(chart);
}

std::string pictures() {
  ImageStrip strip{.title = "Which exit they took", .subtitle = "confidence of the exit in grey"};
  for (int i = 0; i < 12; ++i) {
    StripImage image{.h = 28,
                     .w = 28,
                     .c = 3,
                     .caption = "exit " + std::to_string(i % 4 + 1),
                     .detail = "." + std::to_string(70 + 2 * i),
                     .colour = i % 4};
    for (int y = 0; y < 28; ++y)
      for (int x = 0; x < 28; ++x) {
        const double r = std::hypot(x - 13.5, y - 13.5), v = 128 + 110 * std::sin(r * (.25 + .06 * i));
        for (const double tint : {1., .8 + .02 * i, .6})
          image.pixels.push_back(static_cast<std::uint8_t>(v * tint));
      }
    strip.images.push_back(image);
  }
  return render(strip);
}

}  // namespace

std::string example_report() {
  HtmlReport report("Extraction of a 4-exit network",
                    "An example with made-up numbers, for looking at the layout & the escaping of <tags>.");
  report.facts({{"Accuracy, substitute", "88.6 %", "victim 90.9 %"},
                {"Closeness (class and exit)", "81.2 %", "Knockoff 44.0 %"},
                {"Exits found", "4 of 4", "kernel density"},
                {"Cost ratio", "1.02", "1 is a perfect copy"}});
  report.paragraph(
      "The runtimes of 4,000 queries fall into four groups. They give away how many exits the victim has and "
      "which query took which exit; "
      "a substitute trained on that copies not only the answers but also the cost.");
  report.section("Runtimes");
  report.figure(runtime_density(),
                "Histogram and kernel density of the query times; dashed lines are the estimated thresholds "
                "between exits.");
  report.section("Training");
  report.figure(training_curves(),
                "The joint loss of each exit. The learning rate falls at the dashed lines.");
  report.section("Result");
  report.table({.columns = {{"network", Align::kLeft},
                            {"accuracy, %"},
                            {"closeness, %"},
                            {"cost ratio"},
                            {"exit accuracy, %"}},
                .rows = {{"victim", "90.9", "100.0", "1.00", "100.0"},
                         {"Knockoff", "85.1", "44.0", "1.54", "38.2"},
                         {"ours", "88.6", "81.2", "1.02", "93.7"}},
                .caption = "Test set, 10,000 images",
                .strong_rows = {2}});
  report.figure(
      accuracy_cost(),
      "Moving the thresholds traces each line; the marks are the operating points, whiskers 95 % intervals.");
  report.figures(
      {render(HeatMap{.title = "Exit confusion",
                      .subtitle = "queries",
                      .row_label = "exit taken by the victim",
                      .column_label = "exit of the substitute",
                      .rows = {"1", "2", "3", "4"},
                      .columns = {"1", "2", "3", "4"},
                      .values = {4213, 192, 31, 8, 240, 2105, 166, 12, 22, 170, 1430, 104, 4, 15, 88, 1200},
                      .width = 430}),
       render(HeatMap{.title = "Agreement by setting",
                      .rows = {"1,000 queries", "10,000", "100,000"},
                      .columns = {"ResNet-56", "VGG-16", "MobileNet"},
                      .values = {.412, .388, NAN, .655, .601, .577, .812, .79, .741},
                      .decimals = 1,
                      .percent = true,
                      .width = 430})},
      "Left: diagonal cells are exits copied rightly. Right: a cell that was not run is grey.");
  report.section("Baselines");
  report.figure(render(BarChart{.title = "Closeness by method",
                                .value_axis = {.label = "class and exit agree, %"},
                                .categories = {"random Knockoff",
                                               "adaptive Knockoff",
                                               "labels only",
                                               "ours, separable thresholds",
                                               "ours, joint thresholds"},
                                .series = {{.name = "test set",
                                            .values = {44, 46.1, 39.8, 78.9, 81.2},
                                            .low = {42.8, 44.9, 38.1, 78, 80.4},
                                            .high = {45.2, 47.3, 41.5, 79.8, 82}},
                                           {.name = "query set",
                                            .values = {47.2, 50.3, NAN, 82.2, 85.5},
                                            .low = {46, 49, NAN, 81.4, 84.8},
                                            .high = {48.4, 51.6, NAN, 83, 86.2}}},
                                .unit = " %"}),
                "Whiskers are 95 % bootstrap intervals.");
  report.figures({scaling(), empty()}, "Logarithmic axes, and what a chart without data looks like.");
  report.section("Pictures");
  report.figure(pictures(), "");
  report.note(Note::kWarning,
              "Timings were taken while another program ran; the exit accuracy is a lower bound.");
  report.note(Note::kGood, "All thresholds were proven optimal.");
  report.bullets({"Queries: 4,000 images of the same kind, 18,000 unrelated.",
                  "Every number above is recomputed by the command below."});
  report.section("Configuration");
  report.folded("config.toml",
                "[victim]\nnet = \"resnet56\"\nexits = 4\n\n[query]\nset = \"synthetic:leaves:18000\"\n");
  return report.html();
}

}  // namespace offramp::report
