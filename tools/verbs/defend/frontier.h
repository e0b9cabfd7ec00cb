// What each way of padding costs and leaks, as rows for a table, JSON and a plot.
#pragma once

#include "stats/padding/attribute.h"
#include "stats/padding/groupings.h"
#include "stats/padding/padding.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace offramp::tools {

struct FrontierRow {
  std::string padding;                   // "groups 1|23|4"
  double delay_ns = 0;                   // mean, beyond the undefended answer
  double bits = 0;                       // about the exit, in the time of one answer
  double bound_bits = 0;                 // no padding of this delay leaks less
  std::optional<double> guess_bits;      // min-entropy leak; not of TimeGuard
  std::optional<double> attribute_bits;  // about the attribute; where one is known, not of TimeGuard
};

struct Frontier {
  double mean_ns = 0;  // of an undefended answer
  std::vector<FrontierRow> groupings, optimum, time_guard;
  std::vector<double> curve_delays_ns, curve_bits;  // the optimum, finely, from no padding to constant time
};

// exits: times in ns. `attribute`: the same exits by an attribute of the input, or null. optimum_points: delays between
// none and constant time. sigmas_ns: of TimeGuard.
Frontier frontier_of(const stats::PaddedExits& exits,
                     const stats::AttributeExits* attribute,
                     int optimum_points,
                     const std::vector<double>& sigmas_ns);

std::string text_of(const Frontier& frontier);
nlohmann::ordered_json json_of(const Frontier& frontier);
std::string plot_of(const Frontier& frontier, const std::string& subtitle);

}  // namespace offramp::tools
