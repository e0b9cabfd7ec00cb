// When a sample leaves at an exit, and who answers when it left nowhere (specs/training.md 4).
#pragma once

#include <array>
#include <utility>

namespace offramp::stats {

enum class ExitRule {
  kAtLeast,  // confidence >= threshold: the reference code
  kAbove,    // confidence >  threshold: the first paper, and thresholds that were searched
};
// What a sample gets that no exit before the last was sure of; it has paid for the whole net either way.
enum class Fallback {
  kLast,           // the last exit
  kMostConfident,  // the most confident of all exits: the reference code
};

inline constexpr std::array<std::pair<ExitRule, const char*>, 2> kExitRules{
    {{ExitRule::kAtLeast, ">="}, {ExitRule::kAbove, ">"}}};
inline constexpr std::array<std::pair<Fallback, const char*>, 2> kFallbacks{
    {{Fallback::kLast, "last"}, {Fallback::kMostConfident, "most-confident"}}};

inline const char* to_text(ExitRule rule) { return kExitRules[static_cast<std::size_t>(rule)].second; }
inline const char* to_text(Fallback fallback) {
  return kFallbacks[static_cast<std::size_t>(fallback)].second;
}

}  // namespace offramp::stats
