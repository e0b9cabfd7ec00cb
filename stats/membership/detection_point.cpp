#include "stats/membership/detection_point.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stats/checks.h"
#include "stats/roc.h"

namespace offramp::stats {

DetectionPoint detection_point(std::span<const double> member_scores,
                               std::span<const double> non_member_scores,
                               double wanted_fpr,
                               double level) {
  if (!(wanted_fpr >= 0 && wanted_fpr <= 1)) {
    throw ValueError("detection_point: the false positive rate must lie in [0, 1], got " +
                     to_text(wanted_fpr));
  }
  const Roc roc = roc_curve(member_scores, non_member_scores);
  DetectionPoint out;
  out.wanted_fpr = wanted_fpr;
  out.members = member_scores.size();
  out.non_members = non_member_scores.size();
  const double n = static_cast<double>(out.non_members);
  // 0.29 * 100 is a little below 29 in floating point and means 29.
  const double limit = std::floor(wanted_fpr * n * (1 + 4 * std::numeric_limits<double>::epsilon()));
  if (wanted_fpr > 0 && limit < 1) {
    out.refused = "a false positive rate of " + to_text(wanted_fpr) + " needs at least " +
                  std::to_string(static_cast<std::size_t>(std::ceil(1 / wanted_fpr - 1e-9))) +
                  " non-members, got " + std::to_string(out.non_members);
  }
  out.threshold = std::numeric_limits<double>::infinity();
  for (const RocPoint& point : roc.points) {
    if (std::llround(point.fpr * n) > std::llround(limit)) break;
    out.threshold = point.threshold;
    out.false_alarms = static_cast<std::size_t>(std::llround(point.fpr * n));
    out.members_found = static_cast<std::size_t>(std::llround(point.tpr * static_cast<double>(out.members)));
  }
  out.tpr = exact_interval(out.members_found, out.members, level);
  out.fpr = exact_interval(out.false_alarms, out.non_members, level);
  return out;
}

}  // namespace offramp::stats
