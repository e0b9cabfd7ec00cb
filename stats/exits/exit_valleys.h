// Exits as what lies between the valleys of a density, the papers' two ways: of a KDE (specs/extraction.md 2.2) and of changepoints
// of the sorted times (2.3).
#pragma once

#include <cstddef>
#include <span>

#include "stats/exits/exit_estimation.h"

namespace offramp::stats {

// Sets thresholds, their number, sigma and where it comes from, and the bandwidth. sorted: the times that are clustered,
// ascending. r.sigma_ns: noise of the repetitions, where there are at least two.
void estimate_by_valleys(ExitEstimate& r,
                         std::span<const double> sorted,
                         std::size_t repetitions,
                         const EstimationOptions& options);

}  // namespace offramp::stats
