// "Did you mean": the known word with the smallest edit distance.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace offramp::tools {

// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
std::size_t edit_distance(std::string_view a, std::string_view b);

// The nearest of `known`, the first at equal distance; empty if there is none.
std::string nearest(std::string_view word, std::span<const std::string> known);

}  // namespace offramp::tools
