#pragma once
// Lines with error bands, points, histograms and thresholds over two number axes.
#include <span>
#include <string>
#include <vector>

#include "tools/report/frame.h"

namespace offramp::report {

enum class Draw { kLine, kPoints, kLineAndPoints };

// low and high, where given, are the ends of a band (lines) or of whiskers (points). A NaN in x or y breaks
// the line and leaves the point out; a NaN in low or high leaves out that piece of the band.
struct Series {
  std::string name = {};
  std::vector<double> x = {}, y = {};
  std::vector<double> low = {}, high = {};
  Draw draw = Draw::kLine;
  std::vector<std::string> point_labels = {};  // text beside each point; empty strings are passed over
  int colour = -1;                             // 0..7; -1: by position
  int dash = 0;                                // 0 solid, 1..3 dashed
};

// counts[i] lies between edges[i] and edges[i + 1]; counts may be densities.
struct Histogram {
  std::string name = {};
  std::vector<double> edges = {}, counts = {};
  int colour = -1;
};

struct Rule {
  double at = 0;
  std::string label = {};
  bool vertical = true;
};

struct XyChart {
  Frame frame = {};
  std::vector<Histogram> histograms = {};
  std::vector<Series> series = {};
  std::vector<Rule> rules = {};
};

// `count` bins of equal width.
struct Bins {
  double low = 0, high = 1;
  int count = 1;
  double width() const { return (high - low) / count; }
};
// Each value adds `each` to its bin; what lies outside goes into the first or the last one, NaN nowhere.
Histogram make_histogram(std::string name, std::span<const double> values, const Bins& bins, double each = 1);
// Equal bins from the least to the greatest finite value, scaled to area 1 when `density`. No finite value or
// bins < 1: no edges.
Histogram make_histogram(std::string name, std::span<const double> values, int bins, bool density);

// Throws ReportError when a series' vectors differ in length or a histogram has not one edge more than
// counts. Nothing to draw gives the frame with "no data".
std::string render(const XyChart& chart);

}  // namespace offramp::report
