#pragma once
// The files between the stages of an extraction (docs/reference/formats.md): one schema, one writer and one reader
// each. Readers also take what earlier versions wrote.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "attacks/extraction/strategy_search.h"
#include "stats/exits/exit_estimation.h"

namespace offramp::attacks {

// Times as one brings them: [n, repetitions], and when each was measured (empty: not known).
struct RecordedTimes {
  std::vector<double> ns;
  std::size_t repetitions = 0;
  std::vector<std::int32_t> order;
  std::vector<std::int64_t> index;  // of the samples, where the file numbers them; empty: as they stand
};
// A trace's folder (times.csv and order.csv) or a CSV file with a column `nanoseconds`, or t0, t1, .. or t1, t2, ..; a column
// `index` says which sample a row is of. Throws FileError for both kinds of columns, an index that is there twice, or, in a trace,
// out of order.
RecordedTimes read_times(const std::filesystem::path& file_or_folder);

// estimate.json
nlohmann::ordered_json estimate_json(const stats::ExitEstimate& estimate,
                                     const stats::EstimationOptions& options,
                                     std::size_t repetitions);

// assignment.csv: index,exit,confidence; the confidence may be missing.
void write_assignment(const std::filesystem::path& path,
                      const stats::ExitEstimate& estimate,
                      const std::vector<std::int64_t>& index = {});
// The exit of each sample. Throws FileError that names the line.
std::vector<std::int32_t> read_assignment(const std::filesystem::path& path);

// confidences.csv: exit,c1..cK[,weight].
void write_confidences(const std::filesystem::path& path, const Confidences& confidences);
Confidences read_confidences(const std::filesystem::path& path);

// strategy.json
nlohmann::ordered_json strategy_json(const StrategyResult& strategy,
                                     const Confidences& searched,
                                     const stats::SearchOptions& options);
// The thresholds of one. Throws FileError.
std::vector<double> read_thresholds(const std::filesystem::path& path);

}  // namespace offramp::attacks
