#pragma once
// A data set cut at random into four equal, disjoint, stratified parts (specs/membership.md 1): members and non-members of
// a target, and of the shadow model that an attacker trains. Which sample lies where, and a hash of what each part holds,
// stand in a manifest, so that models of different days can be held to the same split.
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nets/data/open_dataset.h"

namespace offramp::data {

enum class Part { kTargetTrain, kTargetTest, kShadowTrain, kShadowTest };
inline constexpr std::array<Part, 4> kParts = {
    Part::kTargetTrain, Part::kTargetTest, Part::kShadowTrain, Part::kShadowTest};
const char* to_text(Part part);  // "target-train", ..

struct FourParts {
  std::uint64_t seed = 0;
  int samples = 0;  // of the whole set; of them samples % 4, drawn at random, lie in no part
  std::array<std::vector<std::int32_t>, 4> rows;  // ascending positions in the whole set
  const std::vector<std::int32_t>& of(Part part) const { return rows[static_cast<std::size_t>(part)]; }
};

// Labels of the whole set, 0 .. classes - 1. Every class has as many samples in each part, give or take one. Throws
// DataError for a class of fewer than four samples: it would be missing from a part.
FourParts four_parts(const std::vector<std::int32_t>& labels,
                     const std::vector<std::string>& class_names,
                     std::uint64_t seed);
// Throws DataError where parts overlap, differ in size, hold a row twice or one that the set does not have, or lack a class.
void check(const FourParts& parts,
           const std::vector<std::int32_t>& labels,
           const std::vector<std::string>& class_names);

// FNV-1a, 64 bits, over the values and labels of these samples, in the order given.
std::uint64_t hash_of(const Dataset& set, const std::vector<std::int32_t>& rows);

// JSON: the set's spec, seed and sizes, and of each part its rows and hash.
void write_manifest(const std::filesystem::path& path,
                    const FourParts& parts,
                    const Dataset& set,
                    const std::string& spec);
// The split of a manifest, for `set`. Throws FileError where the file is none, and DataError where the set is not the one
// that it was written for: another number of samples, or a part whose hash differs.
FourParts read_manifest(const std::filesystem::path& path, const Dataset& set);

}  // namespace offramp::data
