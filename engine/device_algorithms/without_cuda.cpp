// A build without CUDA has no device to run these on.
#include <string>

#include "base/errors.h"
#include "engine/device_algorithms.h"

namespace offramp::device_algorithms {

namespace {
[[noreturn]] void refuse(const char* what, const Device& device) {
  throw ValueError(std::string(what) + ": a cuda device is wanted, got " + device.name());
}
}  // namespace

std::vector<double> kde_direct(const Device& d, std::span<const double>, std::span<const double>, double) {
  refuse("kde_direct", d);
}
std::vector<double> kde_cells(
    const Device& d, std::span<const double>, std::span<const double>, double, double, double) {
  refuse("kde_cells", d);
}
std::vector<double> segment_log_q(const Device& d, std::span<const double>, const SegmentModel&) {
  refuse("segment_log_q", d);
}
SegmentPosterior segment_posterior(const Device& d, std::span<const double>, const SegmentModel&) {
  refuse("segment_posterior", d);
}
SegmentMap segment_map(const Device& d, std::span<const double>, const SegmentModel&) {
  refuse("segment_map", d);
}
JointAnswer joint_search(const Device& d, const JointProblem&) { refuse("joint_search", d); }

}  // namespace offramp::device_algorithms
