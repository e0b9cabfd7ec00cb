#include "attacks/extraction/stage_files.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string>

#include "attacks/extraction/names.h"
#include "attacks/query/trace.h"
#include "base/atomic_file.h"
#include "base/errors.h"
#include "base/json_file.h"
#include "base/number_table.h"
#include "kernels/losses.h"

namespace offramp::attacks {
namespace {

namespace text = nets::text;

// Infinity has no spelling in JSON.
nlohmann::ordered_json finite_or_null(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

// The column `exit` of a table: whole numbers from 1 to `most`.
std::vector<std::int32_t> exits_of(const NumberTable& table, int most) {
  const auto values =
      table.whole_numbers(table.index_of("exit"), "an exit from 1 to " + std::to_string(most), 1, most);
  return {values.begin(), values.end()};
}

// Which sample each row is of, each once.
std::vector<std::int64_t> index_of_samples(const NumberTable& table,
                                           const std::filesystem::path& path,
                                           bool in_order) {
  const auto index = table.whole_numbers(
      table.index_of("index"), "an index from 0", 0, std::numeric_limits<std::int64_t>::max());
  const auto refuse = [&](std::size_t row, const std::string& what) {
    throw FileError(
        path.string(),
        "line " + std::to_string(table.line_of(row)) + ": index " + std::to_string(index[row]) + what);
  };
  std::set<std::int64_t> seen;
  for (std::size_t i = 0; i < index.size(); ++i) {
    if (!seen.insert(index[i]).second) refuse(i, " is there twice");
    if (in_order && index[i] != static_cast<std::int64_t>(i))
      refuse(i, ", expected " + std::to_string(i) + ": a trace's rows stand in the order of its images");
  }
  return {index.begin(), index.end()};
}

}  // namespace

RecordedTimes read_times(const std::filesystem::path& given) {
  const auto path = std::filesystem::is_directory(given) ? given / "times.csv" : given;
  const NumberTable table = read_number_table(path);
  const auto order = given / "order.csv";
  const bool ordered = std::filesystem::exists(order);
  RecordedTimes times;
  if (table.find("index")) times.index = index_of_samples(table, path, ordered);
  const auto columns = table.numbered("t");
  if (table.find("nanoseconds")) {
    if (!columns.empty())
      throw FileError(
          path.string(),
          "has a column 'nanoseconds' and repetitions (t1, t2, ..): which are the times? Leave the others out");
    times.ns = table.numbers("nanoseconds");
    times.repetitions = 1;
    return times;
  }
  times.repetitions = columns.size();
  if (columns.empty())
    throw FileError(
        path.string(),
        "expected a column 'nanoseconds', or 't1', 't2', .. for repetitions, found " + table.columns_found());
  times.ns.resize(table.rows() * columns.size());
  for (std::size_t r = 0; r < columns.size(); ++r) {
    const auto column = table.numbers(columns[r]);
    for (std::size_t i = 0; i < table.rows(); ++i) times.ns[i * columns.size() + r] = column[i];
  }
  if (ordered)
    times.order =
        read_order(order, static_cast<std::int64_t>(table.rows()), static_cast<int>(times.repetitions));
  return times;
}

nlohmann::ordered_json estimate_json(const stats::ExitEstimate& e,
                                     const stats::EstimationOptions& options,
                                     std::size_t repetitions) {
  const bool mixture = e.method == stats::EstimationMethod::kMixture;
  const bool on_device = !mixture && (options.density != nullptr || options.segmentation != nullptr);
  nlohmann::ordered_json json = {{"exits", e.num_exits},
                                 {"thresholds_ns", e.thresholds_ns},
                                 {"counts", e.counts},
                                 {"centres_ns", e.centres_ns},
                                 {"samples", e.exits.size()},
                                 {"repetitions", repetitions},
                                 {"method", text::of(kEstimationMethods, e.method)},
                                 {"statistic", text::of(kTimeStatistics, e.statistic)},
                                 {"speed_divided_out", e.evened},
                                 {"slowness", {e.shortest, e.longest}},
                                 {"sigma_ns", e.sigma_ns},
                                 {"sigma_from", text::of(kSigmaSources, e.sigma_source)},
                                 {"bandwidth_ns", e.bandwidth_ns},
                                 {"separation_sigmas", finite_or_null(e.separation_sigmas)},
                                 {"drift_sigmas", e.drift_sigmas},
                                 {"repetitions_needed", e.repetitions_needed},
                                 {"reliable", e.reliable},
                                 {"advice", e.advice},
                                 {"computed_on", on_device ? "cuda" : "cpu"}};
  if (mixture) {
    json["posterior"] = e.posterior;  // [i]: that there are i + 1 exits
    json["between_exits"] = {e.least_exits, e.most_exits};
    json["threshold_low_ns"] = e.threshold_low_ns;
    json["threshold_high_ns"] = e.threshold_high_ns;
    json["spreads_ns"] = e.spreads_ns;
    json["tick_ns"] = e.tick_ns;
    json["replaced"] = e.replaced;
  }
  return json;
}

void write_assignment(const std::filesystem::path& path,
                      const stats::ExitEstimate& estimate,
                      const std::vector<std::int64_t>& index) {
  std::vector<std::size_t> row(estimate.exits.size());
  std::iota(row.begin(), row.end(), std::size_t{0});
  if (!index.empty()) std::ranges::sort(row, {}, [&](std::size_t i) { return index[i]; });
  std::string rows = "index,exit,confidence\n";
  for (const std::size_t i : row)
    rows += std::to_string(index.empty() ? static_cast<std::int64_t>(i) : index[i]) + ',' +
            std::to_string(estimate.exits[i]) + ',' + text::number(estimate.confidence[i]) + '\n';
  write_file_atomically(path, rows);
}

std::vector<std::int32_t> read_assignment(const std::filesystem::path& path) {
  const NumberTable table = read_number_table(path);
  const auto index = table.whole_numbers(
      table.index_of("index"), "an index from 0", 0, std::numeric_limits<std::int64_t>::max());
  for (std::size_t i = 0; i < index.size(); ++i)
    if (index[i] != static_cast<std::int64_t>(i))
      throw FileError(path.string(),
                      "line " + std::to_string(table.line_of(i)) + ": expected index " + std::to_string(i) +
                          ", found " + std::to_string(index[i]));
  return exits_of(table, kMaxExits);
}

void write_confidences(const std::filesystem::path& path, const Confidences& c) {
  const auto width = static_cast<std::size_t>(c.num_exits);
  std::string rows = "exit";
  for (std::size_t e = 1; e <= width; ++e) rows += ",c" + std::to_string(e);
  rows += c.weights.empty() ? "\n" : ",weight\n";
  for (std::size_t i = 0; i < c.exits.size(); ++i) {
    rows += std::to_string(c.exits[i]);
    for (std::size_t e = 0; e < width; ++e) rows += ',' + text::number(c.values[i * width + e]);
    rows += c.weights.empty() ? "\n" : ',' + text::number(c.weights[i]) + '\n';
  }
  write_file_atomically(path, rows);
}

constexpr double kMostConfident = 1 + 1e-6;  // a sum of rounded probabilities may come out above 1

Confidences read_confidences(const std::filesystem::path& path) {
  const NumberTable table = read_number_table(path);
  const auto columns = table.numbered("c");
  if (columns.size() < 2)
    throw FileError(path.string(),
                    "expected columns exit, c1, c2, .. (at least two exits) and perhaps weight, found " +
                        table.columns_found() +
                        (columns.size() == 1 ? ": a copy with one exit has no thresholds" : ""));
  Confidences c;
  c.num_exits = static_cast<int>(columns.size());
  c.exits = exits_of(table, c.num_exits);
  c.values.resize(table.rows() * columns.size());
  for (std::size_t k = 0; k < columns.size(); ++k) {
    const auto column = table.numbers(columns[k]);
    for (std::size_t i = 0; i < table.rows(); ++i) {
      if (!(column[i] >= 0 && column[i] <= kMostConfident))
        throw FileError(path.string(),
                        "row " + std::to_string(i + 1) + ": expected a confidence from 0 to 1 as c" +
                            std::to_string(k + 1) + ", found " + std::to_string(column[i]));
      c.values[i * columns.size() + k] = column[i];
    }
  }
  if (const auto weight = table.find("weight")) {
    c.weights = table.numbers(*weight);
    if (std::ranges::all_of(c.weights, [](double w) { return w == 0; }))
      throw FileError(path.string(), "expected a weight above 0 in some row: with none no sample counts");
  }
  return c;
}

nlohmann::ordered_json strategy_json(const StrategyResult& strategy,
                                     const Confidences& searched,
                                     const stats::SearchOptions& options) {
  const stats::SearchResult& r = strategy.search;
  nlohmann::ordered_json json{{"thresholds", strategy.policy.thresholds},
                              {"objective", text::of(kSearchObjectives, options.objective)}};
  if (options.objective == stats::SearchObjective::kSeparable)
    json["others"] = text::of(kSeparableOthers, options.others);
  json.update({{"class_counts", !searched.weights.empty()},
               {"samples", searched.exits.size()},
               {"exits", searched.num_exits},
               {"value", r.value},
               {"joint_value", strategy.joint},
               {"upper_bound", r.upper_bound},
               {"optimal", r.optimal},
               {"seconds", r.seconds},
               {"time_limit_reached", r.time_limit_reached},
               {"nodes", r.nodes},
               {"solver", options.solver ? "cuda" : "cpu"}});
  return json;
}

std::vector<double> read_thresholds(const std::filesystem::path& path) {
  return json_member<std::vector<double>>(read_json_file(path), "thresholds", path);
}

}  // namespace offramp::attacks
