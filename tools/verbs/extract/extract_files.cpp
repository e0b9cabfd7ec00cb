#include "tools/verbs/extract/extract_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "nets/data/open_dataset.h"
#include "nets/data/text.h"
#include "nets/data/transform.h"
#include "tools/verbs/dataset/dataset_spec.h"

namespace offramp::tools {
namespace {

struct Part {
  std::string spec, split = "train";
  std::int64_t first = 0, count = -1;  // -1: to the end
};

Part parse_part(const std::string& text) {
  Part part{.spec = text};
  const auto fail = [&text] {
    throw UsageError("images: expected DATASET[@SPLIT][[FIRST:COUNT]], got '" + text + "'");
  };
  if (part.spec.ends_with(']')) {
    const std::size_t open = part.spec.rfind('[');
    if (open == std::string::npos) fail();
    const std::string range = part.spec.substr(open + 1, part.spec.size() - open - 2);
    const std::size_t colon = range.find(':');
    if (colon == std::string::npos) fail();
    const auto first = data::parse_int(range.substr(0, colon)),
               count = data::parse_int(range.substr(colon + 1));
    if (!first || !count || *first < 0 || *count < 1) fail();
    part.first = *first;
    part.count = *count;
    part.spec.resize(open);
  }
  if (const std::size_t at = part.spec.rfind('@'); at != std::string::npos) {
    part.split = part.spec.substr(at + 1);
    part.spec.resize(at);
    if (part.split != "train" && part.split != "test" && part.split != "all") fail();
  }
  return part;
}

}  // namespace

std::string query_image_forms() {
  return "Images are named DATASET[@SPLIT][[FIRST:COUNT]], SPLIT train (default), test or all:\n"
         "  fashion-mnist@train[50000:4000]   4,000 images from the 50,001st on\n"
         "  synthetic:leaves:8000             8,000 generated pictures\n"
         "Several are put one behind the other.\n" +
         dataset_forms();
}

data::ImageSet fit_to(const data::ImageSet& set, const nets::Extent& input) {
  data::ImageSet out = input.c == 3 && set.c == 1 ? data::grey_to_rgb(set) : set;
  if (out.c != input.c)
    throw DataError(fmt::format(
        "images: the net takes {} channels, the images have {} ({})", input.c, out.c, set.source));
  return out.h == input.h && out.w == input.w ? out : data::resize_to(out, input.h);
}

data::ImageSet open_query_images(const std::vector<std::string>& parts,
                                 const nets::Extent& input,
                                 std::uint64_t seed) {
  if (parts.empty()) throw UsageError("images: name at least one part");
  data::ImageSet all;
  for (const std::string& text : parts) {
    const Part part = parse_part(text);
    data::OpenOptions open;
    open.seed = seed;
    checked_spec(part.spec, open);
    data::ImageSet set = data::open_images(part.spec, part.split, open);
    const std::int64_t count = part.count < 0 ? set.n - part.first : part.count;
    if (part.first + count > set.n || count < 1)
      throw UsageError(fmt::format("images: '{}' wants images {} to {}, the set has {}",
                                   text,
                                   part.first,
                                   part.first + count - 1,
                                   set.n));
    std::vector<std::int32_t> rows;
    for (std::int64_t i = 0; i < count; ++i) rows.push_back(static_cast<std::int32_t>(part.first + i));
    set = fit_to(data::subset(set, rows), input);
    set.class_names = {"unlabelled"};  // an attacker has no labels
    std::fill(set.labels.begin(), set.labels.end(), 0);
    all = all.n == 0 ? std::move(set) : data::concat(all, set);
  }
  return all;
}

void write_assignment(const std::filesystem::path& path, const stats::ExitEstimate& estimate) {
  std::string text = "index,exit,confidence\n";
  for (std::size_t i = 0; i < estimate.exits.size(); ++i)
    text += fmt::format("{},{},{}\n", i, estimate.exits[i], estimate.confidence[i]);
  write_file_atomically(path, text);
}

std::vector<std::int32_t> read_assignment(const std::filesystem::path& path) {
  const std::string text = data::read_text(path);
  const auto lines = data::split_lines(text);
  const auto fail = [&path](std::size_t line, const std::string& what) {
    throw FileError(path.string(), fmt::format("{}, line {}", what, line + 1));
  };
  if (lines.empty() || (lines[0] != "index,exit,confidence" && lines[0] != "index,exit"))
    fail(0, "expected the header 'index,exit,confidence'");
  std::vector<std::int32_t> exits;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto fields = data::split_fields(lines[i], ',');
    if (fields.size() != data::split_fields(lines[0], ',').size())
      fail(i, "expected as many fields as the header has");
    const auto index = data::parse_int(fields[0]), exit = data::parse_int(fields[1]);
    if (!index || *index != static_cast<std::int64_t>(i) - 1)
      fail(i, fmt::format("expected index {}", i - 1));
    if (!exit || *exit < 1 || *exit > kMaxExits) fail(i, fmt::format("expected an exit in 1..{}", kMaxExits));
    exits.push_back(static_cast<std::int32_t>(*exit));
  }
  if (exits.empty()) fail(0, "expected at least one sample");
  return exits;
}

void write_estimate(const std::filesystem::path& path, const stats::ExitEstimate& e) {
  const nlohmann::ordered_json json = {{"exits", e.num_exits},
                                       {"thresholds_ns", e.thresholds_ns},
                                       {"counts", e.counts},
                                       {"centres_ns", e.centres_ns},
                                       {"statistic", stats::name_of(e.statistic)},
                                       {"speed_divided_out", e.evened},
                                       {"slowness", {e.shortest, e.longest}},
                                       {"sigma_ns", e.sigma_ns},
                                       {"bandwidth_ns", e.bandwidth_ns},
                                       {"separation_sigmas", e.separation_sigmas},
                                       {"reliable", e.reliable},
                                       {"advice", e.advice}};
  write_file_atomically(path, json.dump(2) + "\n");
}

void write_confidences(const std::filesystem::path& path,
                       const std::vector<double>& confidence,
                       const std::vector<std::int32_t>& exits,
                       const std::vector<double>& weights) {
  const std::size_t width = confidence.size() / exits.size();
  std::string text = "exit";
  for (std::size_t e = 1; e <= width; ++e) text += fmt::format(",c{}", e);
  text += weights.empty() ? "\n" : ",weight\n";
  for (std::size_t i = 0; i < exits.size(); ++i) {
    text += std::to_string(exits[i]);
    for (std::size_t e = 0; e < width; ++e)
      text += fmt::format(",{}", confidence[i * width + e]);  // shortest that reads back
    text += weights.empty() ? "\n" : fmt::format(",{}\n", weights[i]);
  }
  write_file_atomically(path, text);
}

std::vector<double> read_thresholds(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw FileError(path.string(), "cannot be read");
  try {
    return nlohmann::json::parse(in).at("thresholds").get<std::vector<double>>();
  } catch (const nlohmann::json::exception&) {
    throw FileError(path.string(), "expected JSON with a list of numbers under 'thresholds'");
  }
}

}  // namespace offramp::tools
