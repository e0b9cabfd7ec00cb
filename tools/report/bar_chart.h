#pragma once
// Grouped bars, lying: names of any length stay readable, values stand at the ends.
#include <string>
#include <vector>

#include "tools/report/frame.h"

namespace offramp::report {

struct BarSeries {
  std::string name = {};
  std::vector<double> values = {};          // one per category; NaN: no bar, "n/a"
  std::vector<double> low = {}, high = {};  // ends of an interval, drawn as a whisker
  int colour = -1;
};

struct BarChart {
  std::string title = {}, subtitle = {};
  Axis value_axis = {};  // starts at 0 unless values are negative or it says otherwise
  std::vector<std::string> categories = {};
  std::vector<BarSeries> series = {};
  int digits = 4;         // significant digits of the numbers at the bars
  std::string unit = {};  // behind each number, for example " %"
  double width = 860;
};

// Throws ReportError when a series has not one value per category.
std::string render(const BarChart& chart);

}  // namespace offramp::report
