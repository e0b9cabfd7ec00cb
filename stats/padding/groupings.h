// Deterministic padding: exits in groups, every group answered at the time of its latest exit (specs/audit.md 3).
#pragma once

#include "stats/padding/padding.h"

#include <functional>
#include <string>

namespace offramp::stats {

struct Grouping {
  std::vector<int> group;  // [K] of each exit, from 0 in the order of first appearance
  double delay = 0;        // mean extra time
  double bits = 0;         // entropy of the groups' shares = I(K; S)
};

// "1|23|4": the exits of each group, numbered from 1; with more than 9 exits "1|2,3|4".
std::string to_text(const Grouping& grouping);
Padding padding_of(const PaddedExits& exits, const Grouping& grouping);
// Of such a text; ValueError unless it names every exit 1..num_exits once.
Grouping parse_grouping(const std::string& text, const PaddedExits& exits);

// The groupings that no other beats in both delay and bits, by delay. All partitions of up to kMaxPartitioned exits are
// tried (Bell numbers: 4,140 for 8 exits, 115,975 for 10), beyond that those of neighbouring exits only.
inline constexpr std::size_t kMaxPartitioned = 10;
std::vector<Grouping> grouping_frontier(const PaddedExits& exits);

// Its two halves: take(group) for every grouping that is tried, and the undominated of `all` (`time_span`: last time
// minus first, the scale of what counts as the same delay).
void each_grouping(std::size_t num_exits, const std::function<void(const std::vector<int>&)>& take);
std::vector<Grouping> undominated(std::vector<Grouping> all, double time_span);

}  // namespace offramp::stats
