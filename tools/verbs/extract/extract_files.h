// What the stages of `offramp extract` read and write (docs/reference/formats.md), and how query images are
// named.
#pragma once

#include "attacks/query/query_run.h"
#include "nets/data/image_set.h"
#include "nets/graph/layers.h"
#include "stats/exits/exit_estimation.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace offramp::tools {

// "DATASET[@SPLIT][[FIRST:COUNT]]": "fashion-mnist@train[50000:4000]", "synthetic:leaves:8000". SPLIT
// defaults to train. All parts one after the other, resized to the net's side, without labels. Throws
// UsageError for a part that cannot be read as such, DataError for data that cannot be read.
data::ImageSet open_query_images(const std::vector<std::string>& parts,
                                 const nets::Extent& input,
                                 std::uint64_t seed);
// The forms above, for --help.
std::string query_image_forms();
// A set as the nets take it: channels and side of `input`.
data::ImageSet fit_to(const data::ImageSet& set, const nets::Extent& input);

// assignment.csv: index,exit,confidence.
void write_assignment(const std::filesystem::path& path, const stats::ExitEstimate& estimate);
// The exit of each sample. Throws FileError that names the line.
std::vector<std::int32_t> read_assignment(const std::filesystem::path& path);
void write_estimate(const std::filesystem::path& path, const stats::ExitEstimate& estimate);

// confidences.csv: exit,c1..cK,weight: what `extract search` reads.
void write_confidences(const std::filesystem::path& path,
                       const std::vector<double>& confidence,
                       const std::vector<std::int32_t>& exits,
                       const std::vector<double>& weights);
// `thresholds` of a JSON file of `extract search`. Throws FileError.
std::vector<double> read_thresholds(const std::filesystem::path& path);

}  // namespace offramp::tools
