#pragma once
// Does somebody slow this net down? Two detectors that know clean traffic alone, as a first baseline: nothing was published
// for slowdown attacks on nets with exits.
//
// Trajectory, per image: how far the confidences of all exits lie from those of clean images, as the squared Mahalanobis
// distance of their log-odds. Histogram, per window of images: how far the exits taken lie from those of clean traffic, as
// the G statistic 2 sum O ln(O / E).
#include <span>
#include <vector>

#include "attacks/evasion/harness.h"

namespace offramp::attacks::evasion {

class TrajectoryDetector {
 public:
  // Fits mean and covariance (with a ridge of 1e-3) on the rows of a clean judgement. Throws ValueError for fewer than two.
  TrajectoryDetector(const Judgement& clean, std::span<const int> rows);
  // Larger: less like clean traffic.
  double score(const Judgement& judgement, int row) const;

 private:
  std::size_t exits_;
  std::vector<double> mean_, factor_;  // [exits], [exits, exits]: lower Cholesky factor of the covariance
};

class HistogramDetector {
 public:
  // Shares of the exits among those rows, each count raised by one half.
  HistogramDetector(const Judgement& clean, std::span<const int> rows);
  // Of the images at `rows` of one window.
  double score(const Judgement& judgement, std::span<const int> rows) const;

 private:
  std::vector<double> share_;
};

}  // namespace offramp::attacks::evasion
