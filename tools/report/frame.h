#pragma once
// What all charts with axes share: title, legend, plot area, scales, grid, tick labels.
#include <optional>
#include <string>
#include <vector>

#include "tools/report/svg_writer.h"
#include "tools/report/ticks.h"

namespace offramp::report {

struct Axis {
  std::string label = {};
  bool log = false;  // base 10; values <= 0 are left out
  std::optional<double> min = {}, max = {};
};

struct Frame {
  std::string title = {}, subtitle = {};
  Axis x = {}, y = {};
  double width = 860, height = 400;
  bool legend = true;  // drawn when there is more than one entry
};

enum class Sample { kLine, kDashed1, kDashed2, kDashed3, kMarker, kBlock, kLineMarker };
struct LegendEntry {
  std::string name;
  int colour = 0;
  Sample sample = Sample::kLine;
  int shape = 0;
};

// One direction of the plot: data value to pixel.
class Scale {
 public:
  // Covers the values seen, within the axis' own limits; `pad` is the share added on sides without a limit,
  // `nice` widens to the next tick. Empty data give 0..1 (log: 0.1..1).
  Scale(const Axis& axis, double low, double high, double pad, bool nice, int wanted_ticks);
  void place(double from_px, double to_px) { from_ = from_px, to_ = to_px; }
  double operator()(double value) const;
  bool shows(double value) const;  // finite and, on a log axis, positive
  const std::vector<Tick>& ticks() const { return ticks_; }
  double low() const { return low_; }
  double high() const { return high_; }

 private:
  bool log_;
  double low_, high_, from_ = 0, to_ = 1;
  std::vector<Tick> ticks_;
};

struct PlotArea {
  double left, top, width, height;
  double right() const { return left + width; }
  double bottom() const { return top + height; }
};

// Title, subtitle and legend at the top left; returns the y where the plot may begin.
double draw_head(SvgWriter& svg, const Frame& frame, const std::vector<LegendEntry>& legend);
// Area inside the axis labels; both scales are placed in it, grid, ticks and labels drawn.
PlotArea draw_axes(SvgWriter& svg, const Frame& frame, double top, Scale& x, Scale& y);
// "no data" in the middle of an empty plot.
void draw_no_data(SvgWriter& svg, const PlotArea& area);

}  // namespace offramp::report
