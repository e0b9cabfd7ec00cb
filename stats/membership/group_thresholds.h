// Thresholds that decide membership from a score, one for all records or one a group (class, exit), chosen on records
// whose membership is known (specs/membership.md 4.3, 4.5, 5). A record is called a member iff score > threshold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace offramp::stats {

struct BalancedThreshold {
  double threshold = 0;
  double balanced_accuracy =
      0.5;  // (true positive rate + true negative rate) / 2 on the records it was chosen on
};

// The threshold of largest balanced accuracy, of several the highest one (fewest false alarms). It lies midway between
// neighbouring scores, and at an infinity where everybody or nobody is best called a member. DataError: no member or no
// non-member, a NaN score.
BalancedThreshold balanced_threshold(std::span<const double> member_scores,
                                     std::span<const double> non_member_scores);

// The search of the ART library: j * top / 100, j = 1 .. 99, top the largest score; the first of largest plain accuracy.
// One outlier coarsens the whole grid. DataError: scores that are not finite; ValueError: scores below 0.
BalancedThreshold art_grid_threshold(std::span<const double> member_scores,
                                     std::span<const double> non_member_scores);

// Scores with what is known of each record. All spans have the same length.
struct GroupedScores {
  std::span<const double> score;
  std::span<const std::uint8_t> member;  // 1 or 0
  std::span<const std::int32_t> group;   // 0 .. groups - 1
};

enum class EmptyGroup {
  kCommon,    // a group without members or without non-members takes the threshold of all records
  kPrevious,  // that of the group before it, 0 where there is none: the CCS code
};
enum class ThresholdSearch { kBalanced, kArtGrid };

struct GroupThresholds {
  std::vector<double> threshold;  // [groups]
  std::vector<std::uint8_t> own;  // [groups] 1: chosen on records of the group itself
};
// DataError: lengths differ, a group out of range, a member that is neither 0 nor 1, and as balanced_threshold over all.
GroupThresholds group_thresholds(const GroupedScores& known,
                                 std::size_t groups,
                                 EmptyGroup empty = EmptyGroup::kCommon,
                                 ThresholdSearch search = ThresholdSearch::kBalanced);

// [n] 1 iff the record is called a member.
std::vector<std::uint8_t> decide(const GroupedScores& records, const GroupThresholds& thresholds);

struct GroupResult {
  std::size_t members = 0, non_members = 0;
  std::size_t members_found = 0, false_alarms = 0;
  // Balanced accuracy within the group; NaN where it lacks members or non-members.
  double accuracy = 0;
  bool counted = false;  // it has both, and a threshold of its own
};
struct GroupedAccuracy {
  std::vector<GroupResult> groups;
  double average = 0.5;   // unweighted, over the groups that count; NaN where none does
  double weighted = 0.5;  // the same by number of records
  // What the CCS code prints: a group without members or without non-members counts as accuracy 1.
  double as_ccs_code = 0.5;
  std::size_t flagged = 0;  // groups with records in them that do not count
};
GroupedAccuracy grouped_accuracy(const GroupedScores& records,
                                 std::span<const std::uint8_t> decisions,
                                 const GroupThresholds& thresholds);

}  // namespace offramp::stats
