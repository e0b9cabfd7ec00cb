#pragma once
// Where the costly parts of the estimate and of the search are computed: the one place that knows both stats/ and the
// device's forms of its algorithms. Every stage asks here, so that a device reaches all of them.
#include "engine/device.h"
#include "stats/exits/exit_estimation.h"
#include "stats/search/threshold_search.h"

namespace offramp::attacks {

// cuda: densities and the MAP segmentation on the device. cpu: those of stats.
void compute_on(const Device& device, stats::EstimationOptions& options);
// cuda: the joint search on the device (whole-number weights, at most 9 exits). cpu: that of stats.
void compute_on(const Device& device, stats::SearchOptions& options);

}  // namespace offramp::attacks
