// The control of a membership audit that must find nothing: members against members (specs/audit.md 1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "stats/intervals.h"

namespace offramp::stats {

// AUC with the interval of DeLong, DeLong and Clarke-Pearson (Biometrics 1988). DataError: no score on a side, a NaN.
Interval delong_auc(std::span<const double> positive_scores,
                    std::span<const double> negative_scores,
                    double level = 0.95);

struct MemberControl {
  std::size_t repetitions = 0, inside = 0;
  double mean_auc = 0.5;
  // 95 % of the repetitions should lie inside; below 7 in 8 something else than chance is at work. (A report has a hundred
  // attacks: of 200 true repetitions fewer than 175 lie inside once in 100,000.)
  bool passed = false;
};
// The members split in two at random, one half called non-members, `repetitions` times: how often the 95 % interval of the
// AUC holds 0.5. DataError: fewer than four members.
MemberControl member_control(std::span<const double> member_scores,
                             std::size_t repetitions = 200,
                             std::uint64_t seed = 1);

}  // namespace offramp::stats
