// How many members an attack finds at few false alarms, said honestly: counts, exact intervals, and the rate that was
// realised beside the one that was wanted (specs/audit.md 1). Scores: larger means member.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "stats/intervals.h"

namespace offramp::stats {

struct DetectionPoint {
  double wanted_fpr = 0;
  // Member iff score >= threshold; +infinity: nobody. The smallest score with at most floor(wanted * n) of the n
  // non-members at or above it, so a tie that would go over the limit is given to nobody.
  double threshold = 0;
  std::size_t members = 0, members_found = 0;
  std::size_t non_members = 0, false_alarms = 0;
  Interval tpr, fpr;  // what was realised; Clopper and Pearson
  // Not empty: the sample cannot resolve this rate (wanted * n < 1), and says how many non-members would. The other
  // members are then those of no false alarm.
  std::string refused;
};

// wanted_fpr in [0, 1]; 0: no false alarm, which every sample resolves. DataError: no member or no non-member, a NaN score.
// ValueError: the rate or the level lies outside its domain.
DetectionPoint detection_point(std::span<const double> member_scores,
                               std::span<const double> non_member_scores,
                               double wanted_fpr,
                               double level = 0.95);

}  // namespace offramp::stats
