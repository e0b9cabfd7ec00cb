// What a half-normal delay leaves: TimeGuard's answer at t + |N(0, sigma^2)| (specs/membership.md 7, specs/audit.md 3).
#pragma once

#include "stats/padding/padding.h"

#include <limits>

namespace offramp::stats {

struct DelayLeak {
  double delay = 0;  // mean extra time
  double bits = 0;   // I(K; T): the time of one answer about the exit, without noise of the measurement
};

// sigma > 0 in the unit of the times. No answer is sent after `cap` unless it was there only then (the published code
// caps at the last exit's time; infinity: Algorithm 1). ValueError: sigma or cap outside its domain.
DelayLeak half_normal_leak(const PaddedExits& exits,
                           double sigma,
                           double cap = std::numeric_limits<double>::infinity());

}  // namespace offramp::stats
