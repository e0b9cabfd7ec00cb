#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/tools/report/xml_check.h"
#include "tools/report/bar_chart.h"
#include "tools/report/heat_map.h"
#include "tools/report/image_strip.h"
#include "tools/report/png_encode.h"
#include "tools/report/text.h"
#include "tools/report/xy_chart.h"

namespace offramp::report {
namespace {

XmlFacts well_formed(const std::string& svg) {
  XmlFacts facts = check_xml(svg);
  EXPECT_EQ(facts.error, "");
  EXPECT_EQ(facts.count("svg"), 1);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  return facts;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

template <class Fn>
std::string message_of(Fn&& fn) {
  try {
    fn();
  } catch (const ReportError& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

XyChart simple() {
  XyChart chart;
  chart.frame = {.title = "T & <t>", .x = {.label = "epoch"}, .y = {.label = "loss"}};
  chart.series = {{.name = "a", .x = {1, 2, 3}, .y = {3, 1, 2}},
                  {.name = "b", .x = {1, 2, 3}, .y = {1, 1, 1}, .dash = 1}};
  return chart;
}

TEST(XyChart, ShowsTitleLabelsLegendAndEscapes) {
  const std::string svg = render(simple());
  const XmlFacts facts = well_formed(svg);
  for (const char* part : {"T & <t>", "epoch", "loss", "a", "b", "1.0", "3.0"})
    EXPECT_TRUE(has(facts.text, part)) << part;
  EXPECT_EQ(render(simple()), svg);
}

TEST(XyChart, StandaloneFileCarriesItsStyle) {
  const std::string file = standalone_svg(render(simple()));
  EXPECT_EQ(check_xml(file).error, "");
  EXPECT_TRUE(has(file, "xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_TRUE(has(file, "prefers-color-scheme:dark"));
  EXPECT_NE(message_of([] { standalone_svg("<b/>"); }).find("expected an element made by SvgWriter"),
            std::string::npos);
}

TEST(XyChart, PointsStandWhereTheScaleSays) {
  // Axis 0..10 both ways: equal steps in data are equal steps in pixels, y upwards.
  XyChart chart;
  chart.frame = {.x = {.min = 0, .max = 10}, .y = {.min = 0, .max = 10}};
  chart.series = {{.x = {0, 5, 10}, .y = {0, 5, 10}}};
  const std::string svg = render(chart);
  const std::size_t at = svg.find("class=\"line l0\"");
  const std::size_t start = svg.rfind("d=\"M", at) + 4;
  double x[3], y[3];
  ASSERT_EQ(
      std::sscanf(svg.c_str() + start, "%lf %lfL%lf %lfL%lf %lf", &x[0], &y[0], &x[1], &y[1], &x[2], &y[2]),
      6);
  EXPECT_NEAR(x[1] - x[0], x[2] - x[1], .011);  // coordinates have two decimals
  EXPECT_NEAR(y[1] - y[0], y[2] - y[1], .011);
  EXPECT_GT(x[1], x[0]);
  EXPECT_LT(y[1], y[0]);
}

// Charts of one shape on one page: an id stands once in a document.
TEST(XyChart, TwoChartsOfOneShapeHaveIdsOfTheirOwn) {
  const auto id_of = [](const std::string& title) {
    XyChart chart = simple();
    chart.frame.title = title;
    const std::string svg = render(chart);
    const std::size_t at = svg.find("<clipPath id=\"") + 14;
    return svg.substr(at, svg.find('"', at) - at);
  };
  EXPECT_NE(id_of("members"), id_of("others"));
  EXPECT_EQ(id_of("members"), id_of("members"));
}

TEST(XyChart, NansBreakTheLineAndNothingIsNamedSo) {
  XyChart chart;
  chart.series = {{.x = {1, 2, 3, 4, 5},
                   .y = {1, 2, NAN, 2, INFINITY},
                   .low = {0, NAN, 0, 1, 1},
                   .high = {2, 3, 3, 3, 3}}};
  const std::string svg = render(chart);
  well_formed(svg);
  const std::size_t at = svg.rfind("d=\"", svg.find("class=\"line"));
  const std::string d = svg.substr(at, svg.find('"', at + 3) - at);
  EXPECT_EQ(std::ranges::count(d, 'M'), 2);
}

TEST(XyChart, NothingToDrawSaysSo) {
  for (const auto& series : {std::vector<Series>{},
                             std::vector<Series>{{.name = "e"}},
                             std::vector<Series>{{.x = {1, 2}, .y = {NAN, NAN}}}}) {
    XyChart chart;
    chart.series = series;
    EXPECT_TRUE(has(well_formed(render(chart)).text, "no data"));
  }
  XyChart log;
  log.frame.y.log = true;
  log.series = {{.x = {1, 2}, .y = {0, -1}}};
  EXPECT_TRUE(has(well_formed(render(log)).text, "no data"));
  XyChart histogram;
  histogram.histograms = {make_histogram("h", std::vector<double>{NAN}, 5, true)};
  EXPECT_TRUE(has(well_formed(render(histogram)).text, "no data"));
  EXPECT_FALSE(has(well_formed(render(simple())).text, "no data"));
}

TEST(XyChart, OneValueAndConstantSeriesHaveAnAxis) {
  for (const double v : {0., 5., -3., 1e-9, 1e12}) {
    XyChart chart;
    chart.series = {{.x = {1}, .y = {v}, .draw = Draw::kPoints}};
    EXPECT_EQ(well_formed(render(chart)).count("circle"), 1);
  }
}

TEST(XyChart, LogAxesLeaveOutWhatHasNoLogarithm) {
  XyChart chart;
  chart.frame.x.log = chart.frame.y.log = true;
  chart.series = {{.x = {-1, 0, 1, 10, 1000}, .y = {1, 1, 1e-3, 0, 1e3}, .draw = Draw::kPoints}};
  EXPECT_EQ(well_formed(render(chart)).count("circle"), 2);
  chart.frame.x.min = 0;
  EXPECT_TRUE(has(message_of([&] { render(chart); }), "expected a log axis to start above 0"));
}

TEST(XyChart, LengthsMustAgree) {
  XyChart chart;
  chart.series = {{.name = "s", .x = {1, 2}, .y = {1}}};
  EXPECT_TRUE(has(message_of([&] { render(chart); }), "chart: series 's' has 2 x values, 1 y values"));
  chart.series = {};
  chart.histograms = {{.name = "h", .edges = {1, 2}, .counts = {1, 2}}};
  EXPECT_TRUE(has(message_of([&] { render(chart); }), "chart: histogram 'h' has 2 edges for 2 counts"));
  chart.histograms = {};
  chart.frame.x.min = 2, chart.frame.x.max = 1;
  EXPECT_TRUE(has(message_of([&] { render(chart); }), "expected an axis with min < max"));
}

TEST(XyChart, ManyPointsOnOnePixelAreDrawnOnce) {
  XyChart chart;
  Series points{.draw = Draw::kPoints}, line;
  for (int i = 0; i < 100000; ++i) {
    points.x.push_back(i % 10);
    points.y.push_back(i % 7);
    line.x.push_back(i);
    line.y.push_back(i % 100);
  }
  chart.series = {points};
  EXPECT_EQ(well_formed(render(chart)).count("circle"), 70);
  chart.series = {line};
  EXPECT_LT(render(chart).size(), 100000u);  // a few points for each of some 600 pixel columns
}

TEST(XyChart, RulesOutsideTheAxisAreLeftOut) {
  XyChart chart = simple();
  chart.frame.x.min = 1, chart.frame.x.max = 3;
  chart.rules = {{2, "inside"}, {9, "outside"}, {1.5, "level", false}};
  const XmlFacts facts = well_formed(render(chart));
  EXPECT_TRUE(has(facts.text, "inside"));
  EXPECT_TRUE(has(facts.text, "level"));
  EXPECT_FALSE(has(facts.text, "outside"));
}

TEST(Histogram, CountsEveryFiniteValueOnce) {
  const std::vector<double> values = {0, 1, 1, 2, 4, NAN, INFINITY};
  const Histogram h = make_histogram("h", values, 4, false);
  EXPECT_EQ(h.edges, (std::vector<double>{0, 1, 2, 3, 4}));
  EXPECT_EQ(h.counts, (std::vector<double>{1, 2, 1, 1}));  // the last bin holds its right end
  const Histogram d = make_histogram("d", values, 2, true);
  EXPECT_DOUBLE_EQ((d.counts[0] + d.counts[1]) * 2, 1);
  EXPECT_EQ(make_histogram("one", std::vector<double>{3, 3}, 2, false).counts[1], 2);
}

TEST(HeatMap, NumbersTipsAndHoles) {
  const HeatMap map{
      .title = "m", .rows = {"r1", "r2"}, .columns = {"c1", "c2"}, .values = {1234, 0, NAN, 12}};
  const XmlFacts facts = well_formed(render(map));
  for (const char* part : {"1,234", "n/a", "r1, c1: 1,234", "12"}) EXPECT_TRUE(has(facts.text, part)) << part;
  EXPECT_TRUE(
      has(render(HeatMap{.rows = {"r"}, .columns = {"c"}, .values = {.875}, .decimals = 1, .percent = true}),
          "87.5%"));
  EXPECT_TRUE(has(message_of([] {
                    render(HeatMap{.rows = {"r"}, .columns = {"c", "d"}, .values = {1}});
                  }),
                  "heat map: expected 1x2 values, found 1"));
  EXPECT_TRUE(has(render(HeatMap{}), "no data"));
}

TEST(HeatMap, HundredClassesStillFit) {
  HeatMap map{.width = 640};
  for (int i = 0; i < 100; ++i) {
    map.rows.push_back("class number " + std::to_string(i));
    map.columns.push_back("class number " + std::to_string(i));
    for (int j = 0; j < 100; ++j) map.values.push_back(i == j ? 90 : .1 * (i + j) / 2);
  }
  EXPECT_EQ(well_formed(render(map)).count("rect"), 10000);
}

TEST(BarChart, ValuesIntervalsAndGaps) {
  BarChart chart{.title = "b",
                 .categories = {"one", "two"},
                 .series = {{.name = "s", .values = {12.5, NAN}, .low = {11, NAN}, .high = {13, NAN}}},
                 .unit = " %"};
  const XmlFacts facts = well_formed(render(chart));
  EXPECT_TRUE(has(facts.text, "12.5 %"));
  EXPECT_TRUE(has(facts.text, "n/a"));
  chart.series[0].values = {1};
  EXPECT_TRUE(has(message_of([&] { render(chart); }), "bar chart: series 's' has 1 values for 2 categories"));
  EXPECT_TRUE(has(render(BarChart{}), "no data"));
  well_formed(
      render(BarChart{.categories = {"minus", "plus"}, .series = {{.name = "s", .values = {-2, 3}}}}));
}

TEST(ImageStrip, EmbedsEachPictureAsPng) {
  ImageStrip strip;
  for (int i = 0; i < 3; ++i)
    strip.images.push_back({.pixels = std::vector<std::uint8_t>(12, static_cast<std::uint8_t>(80 * i)),
                            .h = 2,
                            .w = 2,
                            .c = 3,
                            .caption = "exit <1>",
                            .colour = i});
  const std::string svg = render(strip);
  const XmlFacts facts = well_formed(svg);
  EXPECT_EQ(facts.count("image"), 3);
  EXPECT_TRUE(has(svg, "data:image/png;base64,iVBORw0KGgo"));
  EXPECT_TRUE(has(facts.text, "exit <1>"));
  strip.images[0].pixels.pop_back();
  EXPECT_TRUE(has(message_of([&] { render(strip); }), "png: 11 bytes do not make a picture of 2x2x3"));
  EXPECT_TRUE(has(render(ImageStrip{}), "no data"));
}

}  // namespace
}  // namespace offramp::report
