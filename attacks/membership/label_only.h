#pragma once
// Label-only membership attacks (specs/membership.md 4.3 and 4.4): the victim gives classes alone, and is asked about changed
// copies of a sample. Members lie further from the decision boundary: more noise is needed to change their class.
//   noise      tables of 0 and 1: every feature is flipped with probability p; the share of copies that keep the true class
//   boundary   images: distance to the boundary by HopSkipJump (attacks/membership/hop_skip_jump.h)
// A sample that is classified wrongly scores 0, without a query.
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "attacks/extraction/listener.h"
#include "attacks/membership/attack.h"
#include "attacks/query/black_box.h"

namespace offramp::attacks::membership {

// Which records are asked about: of each exit up to `per_side` members and as many non-members, drawn at random, or all of
// them where there are fewer. Ascending. (CCS code: 300 a side for tables, 30 to 150 for images.)
std::vector<std::size_t> records_to_ask(const Records& records, int per_side, std::uint64_t seed);

struct NoiseOptions {
  std::vector<double> flips = {1, 2, 3, 5, 10};  // expected number of flipped features; p = flips / features
  int copies = 1000;                             // of each sample and p
  std::uint64_t seed = 1;
};
// One column a number of flips. Throws DataError for features other than 0 and 1, ValueError for flips outside
// [0, features] or no copies. A sample's result depends on the seed and its row alone.
Signal noise_robustness(BlackBox& victim,
                        const Samples& samples,
                        const Records& records,
                        std::span<const std::size_t> asked,
                        const NoiseOptions& options,
                        Listener& listener);

// A signal as one safetensors file: what thousands of queries said is asked once. The reader checks it: FileError.
void write_signal(const std::filesystem::path& path, const Signal& signal);
Signal read_signal(const std::filesystem::path& path, std::size_t records);

}  // namespace offramp::attacks::membership
