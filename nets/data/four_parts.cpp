#include "nets/data/four_parts.h"

#include <algorithm>

#include "base/hash.h"
#include "base/json_file.h"
#include "nets/data/data_error.h"
#include "nets/data/split.h"
#include "nets/data/streams.h"

namespace offramp::data {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* kFormat = "offramp four parts 1";

const std::vector<std::int32_t>& labels_of(const Dataset& set) {
  return std::visit([](const auto& s) -> const std::vector<std::int32_t>& { return s.labels; }, set);
}
const std::vector<std::string>& class_names_of(const Dataset& set) {
  return std::visit([](const auto& s) -> const std::vector<std::string>& { return s.class_names; }, set);
}

std::string hex_digits(std::uint64_t value) {
  static const char* digits = "0123456789abcdef";
  std::string text(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) text[i] = digits[value & 15];
  return text;
}

}  // namespace

const char* to_text(Part part) {
  switch (part) {
    case Part::kTargetTrain:
      return "target-train";
    case Part::kTargetTest:
      return "target-test";
    case Part::kShadowTrain:
      return "shadow-train";
    case Part::kShadowTest:
      break;
  }
  return "shadow-test";
}

FourParts four_parts(const std::vector<std::int32_t>& labels,
                     const std::vector<std::string>& class_names,
                     std::uint64_t seed) {
  FourParts out{.seed = seed, .samples = static_cast<int>(labels.size()), .rows = {}};
  std::vector<std::int32_t> order = permutation(out.samples, seed, kFourPartsStream, 0);
  order.resize(order.size() - order.size() % 4);
  // Dealt class by class: the parts are equal, and each gets its quarter of every class.
  std::ranges::stable_sort(
      order, {}, [&](std::int32_t row) { return labels[static_cast<std::size_t>(row)]; });
  for (std::size_t i = 0; i < order.size(); ++i) out.rows[i % 4].push_back(order[i]);
  for (auto& rows : out.rows) std::ranges::sort(rows);
  check(out, labels, class_names);
  return out;
}

void check(const FourParts& parts,
           const std::vector<std::int32_t>& labels,
           const std::vector<std::string>& class_names) {
  std::vector<int> part_of(labels.size(), -1);
  for (const Part part : kParts) {
    const auto& rows = parts.of(part);
    if (rows.empty())
      throw DataError("split: expected samples for four parts, at least one each, found " +
                      std::to_string(labels.size()) + " in all");
    if (rows.size() != parts.rows[0].size()) {
      throw DataError(std::string("split: expected four parts of one size, found ") +
                      std::to_string(parts.rows[0].size()) + " in target-train and " +
                      std::to_string(rows.size()) + " in " + to_text(part));
    }
    std::vector<std::size_t> count(class_names.size());
    for (const std::int32_t row : rows) {
      if (row < 0 || static_cast<std::size_t>(row) >= labels.size()) {
        throw DataError(std::string("split: expected samples 0.. of ") + std::to_string(labels.size()) +
                        ", found " + std::to_string(row) + " in " + to_text(part));
      }
      int& owner = part_of[static_cast<std::size_t>(row)];
      if (owner >= 0) {
        throw DataError("split: sample " + std::to_string(row) + " lies in " +
                        to_text(kParts[static_cast<std::size_t>(owner)]) + " and in " + to_text(part));
      }
      owner = static_cast<int>(part);
      ++count[static_cast<std::size_t>(labels[static_cast<std::size_t>(row)])];
    }
    const auto missing = std::ranges::find(count, std::size_t{0});
    if (missing != count.end()) {
      const auto c = static_cast<std::size_t>(missing - count.begin());
      throw DataError("split: class " + in_quotes(class_names[c]) + " is missing from " + to_text(part) +
                      "; of its " + std::to_string(std::ranges::count(labels, static_cast<std::int32_t>(c))) +
                      " samples each part needs one");
    }
  }
}

std::uint64_t hash_of(const Dataset& set, const std::vector<std::int32_t>& rows) {
  Fnv1a hash;
  for (const std::int32_t row : rows) {
    if (const auto* images = std::get_if<ImageSet>(&set))
      hash.add(images->image(row));
    else
      hash.add(std::get<TableSet>(set).row(row));
    hash.add(labels_of(set)[static_cast<std::size_t>(row)]);
  }
  return hash.value();
}

void write_manifest(const std::filesystem::path& path,
                    const FourParts& parts,
                    const Dataset& set,
                    const std::string& spec) {
  Json json{{"format", kFormat},
            {"data", spec},
            {"seed", parts.seed},
            {"samples", parts.samples},
            {"classes", class_names_of(set).size()}};
  for (const Part part : kParts)
    json["parts"][to_text(part)] = {{"fnv1a", hex_digits(hash_of(set, parts.of(part)))},
                                    {"rows", parts.of(part)}};
  write_json_file(path, json);
}

FourParts read_manifest(const std::filesystem::path& path, const Dataset& set) {
  const nlohmann::json json = read_json_file(path);
  if (json_member<std::string>(json, "format", path) != kFormat)
    throw FileError(path.string(), std::string("expected format ") + in_quotes(kFormat));
  FourParts out;
  out.seed = json_member<std::uint64_t>(json, "seed", path);
  out.samples = json_member<int>(json, "samples", path);
  const auto& labels = labels_of(set);
  if (static_cast<std::size_t>(out.samples) != labels.size()) {
    throw DataError("split: " + path.string() + " is of a set of " + std::to_string(out.samples) +
                    " samples, this one has " + std::to_string(labels.size()));
  }
  const auto found = json.find("parts");
  if (found == json.end() || !found->is_object()) throw FileError(path.string(), "expected the key 'parts'");
  std::array<std::string, 4> hashes;
  for (const Part part : kParts) {
    const auto at = found->find(to_text(part));
    if (at == found->end() || !at->is_object())
      throw FileError(path.string(), std::string("expected the part ") + in_quotes(to_text(part)));
    out.rows[static_cast<std::size_t>(part)] = json_member<std::vector<std::int32_t>>(*at, "rows", path);
    hashes[static_cast<std::size_t>(part)] = json_member<std::string>(*at, "fnv1a", path);
  }
  check(out, labels, class_names_of(set));
  for (const Part part : kParts) {
    const std::string hash = hex_digits(hash_of(set, out.of(part)));
    if (hash != hashes[static_cast<std::size_t>(part)]) {
      throw DataError("split: " + path.string() + ": the samples of " + to_text(part) +
                      " are not those that the split was made of (hash " +
                      hashes[static_cast<std::size_t>(part)] + ", these have " + hash + ")");
    }
  }
  return out;
}

}  // namespace offramp::data
