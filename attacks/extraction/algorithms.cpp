#include "attacks/extraction/algorithms.h"

#include <span>
#include <utility>
#include <vector>

#include "engine/device_algorithms.h"

namespace offramp::attacks {

void compute_on(const Device& device, stats::EstimationOptions& options) {
  options.density = {};
  options.segmentation = {};
  if (device.kind() == DeviceKind::kCpu) return;
  options.density = [device](std::span<const double> sample,
                             std::span<const double> points,
                             double bandwidth,
                             double cell_width,
                             double reach) {
    return device_algorithms::kde_cells(device, sample, points, bandwidth, cell_width, reach);
  };
  options.segmentation = [device](std::span<const double> y,
                                  const stats::NormalGammaPrior& prior,
                                  const stats::LengthPrior& length) {
    device_algorithms::SegmentMap map = device_algorithms::segment_map(device,
                                                                       y,
                                                                       {.mu0 = prior.mu0,
                                                                        .k0 = prior.k0,
                                                                        .a0 = prior.a0,
                                                                        .b0 = prior.b0,
                                                                        .log_mass = length.log_mass,
                                                                        .log_survival = length.log_survival});
    return stats::MapSegmentation{map.log_joint, std::move(map.starts)};
  };
}

void compute_on(const Device& device, stats::SearchOptions& options) {
  options.solver = {};
  if (device.kind() == DeviceKind::kCpu) return;
  options.solver = [device](const stats::RankedProblem& problem) {
    device_algorithms::JointProblem p;
    p.candidates = problem.candidates;
    p.position = problem.position;
    p.exit = problem.exit;
    p.weight = problem.weight;
    p.start = problem.start;
    p.time_limit_s = problem.time_limit_s;
    const device_algorithms::JointAnswer a = device_algorithms::joint_search(device, p);
    return stats::RankedOptimum{a.point, static_cast<double>(a.upper_bound), a.optimal, a.boxes};
  };
}

}  // namespace offramp::attacks
