#pragma once
// Figures that more than one verb draws, each once.
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tools/report/heat_map.h"

namespace offramp::report {

// The colour of an exit (index from 0), the same in every figure.
int exit_colour(std::size_t index);

// Running times: a histogram of each exit's, all of them together of area 1, the density of all and the thresholds
// between exits.
struct TimeDensity {
  std::string title, subtitle, x_label;
  std::vector<double> times_ns;         // [n]
  std::vector<int> exit;                // [n] from 1
  std::vector<std::string> exit_names;  // for the legend
  std::vector<double> thresholds_ns;
  double begin_ns = 0, end_ns = 0;  // what the bars cover; later times are left out
  int bins = 120;
  std::vector<double> curve_ns,
      curve;  // where the density was computed, and what it is there per ns; may be empty
  std::string curve_name;
  bool ticks = false;  // below the axis one tick a time, of many at most 1,000 an exit; outliers included
};
std::string time_density(const TimeDensity& figure);

// counts [row][column], shaded by row; `name_of` an index from 0.
std::string confusion(HeatMap head,
                      const std::vector<std::vector<std::int64_t>>& counts,
                      const std::function<std::string(std::size_t)>& name_of);

struct RocCurve {
  std::string name;
  std::vector<double> fpr, tpr;
};
// Both axes logarithmic: what counts is how many members are found at few false alarms. fpr, tpr: the points of the
// curve, ascending; those that lie closer than the line is wide are left out.
std::string roc(const std::string& title,
                const std::string& subtitle,
                std::span<const double> fpr,
                std::span<const double> tpr);
// Several of them, at most seven.
std::string roc(const std::string& title, const std::string& subtitle, std::span<const RocCurve> curves);

}  // namespace offramp::report
