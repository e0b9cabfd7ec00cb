// Algorithms of stats/ that have a form for the device (kernels/cuda): spans in, values out, as there. The
// engine does not know stats; callers that know both choose by device. Every function needs a cuda device:
// ValueError for the cpu. Inputs are checked by the callers of stats; what is checked here is what the
// kernels cannot take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "engine/device.h"

namespace offramp::device_algorithms {

// ---- densities: stats/kde.h
// Every pair; within 2e-6 of the peak.
std::vector<double> kde_direct(const Device& device,
                               std::span<const double> sample,
                               std::span<const double> points,
                               double bandwidth);
// Binned as stats::BinnedDensity(sample, bandwidth, cell_width, reach): error (u w/2h)^4/24 of a kernel at
// u = |x - t|/h, plus 2^-32 of it. ValueError beyond 2^20 cells.
std::vector<double> kde_cells(const Device& device,
                              std::span<const double> sample,
                              std::span<const double> points,
                              double bandwidth,
                              double cell_width,
                              double reach);

// ---- changepoints: stats/changepoint.h
struct SegmentModel {
  double mu0 = 0, k0 = 1, a0 = 1, b0 = 1;     // normal-inverse-gamma prior
  std::span<const double> log_mass = {};      // ln g(l), l = 1..n, entry 0 unused
  std::span<const double> log_survival = {};  // ln(1 - G(m)), m = 0..n-1
};
struct SegmentPosterior {
  double log_evidence = 0;
  std::vector<double> log_q, at;  // [n], [n - 1]
};
struct SegmentMap {
  double log_joint = 0;
  std::vector<std::size_t> starts;
};
std::vector<double> segment_log_q(const Device& device, std::span<const double> y, const SegmentModel& model);
SegmentPosterior segment_posterior(const Device& device,
                                   std::span<const double> y,
                                   const SegmentModel& model);
SegmentMap segment_map(const Device& device, std::span<const double> y, const SegmentModel& model);

// ---- joint thresholds: stats/search/threshold_search.h, in ranks
struct JointProblem {
  std::vector<std::uint32_t> candidates = {};  // [dimensions] how many, >= 1
  std::span<const std::uint32_t> position =
      {};                                   // [dimensions][n], 0..candidates; not read beyond a sample's exit
  std::span<const std::int32_t> exit = {};  // [n] 0..dimensions
  std::span<const std::int32_t> weight = {};  // [n] >= 0, sum < 2^31
  std::vector<std::uint32_t> start = {};      // [dimensions] a point to beat, or empty
  std::int64_t grid_cells = 1 << 22;          // of the coarse pass, at most 2^31
  int batch = 1024;                           // boxes of one launch
  double time_limit_s = std::numeric_limits<double>::infinity();
};
struct JointAnswer {
  std::vector<std::uint32_t> point;
  std::int64_t value = 0, upper_bound = 0;
  bool optimal = false;
  std::size_t boxes = 0;  // bounded on the device
};
// ValueError: more than 8 dimensions or sizes that do not fit.
JointAnswer joint_search(const Device& device, const JointProblem& problem);

}  // namespace offramp::device_algorithms
