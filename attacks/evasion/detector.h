#pragma once
// Does somebody slow this net down? Two detectors that know clean traffic alone, as a first baseline: nothing was published
// for slowdown attacks on nets with exits.
//
// Trajectory, per image: how unsure the internal classifiers are beside clean images, as the mean over them of the
// standardised log-odds of their confidence, with the sign turned. (The Mahalanobis distance of all exits' log-odds sees
// nothing: an attacked image is about as far from the mean as a clean one, to the other side.) Histogram, per window of
// images: how far the exits taken lie from those of clean traffic, as the G statistic 2 sum O ln(O / E).
#include <span>
#include <vector>

#include "attacks/evasion/harness.h"

namespace offramp::attacks::evasion {

class TrajectoryDetector {
 public:
  // Mean and deviation of each internal classifier on the rows of a clean judgement. Throws ValueError for fewer than two
  // rows or a net of one exit.
  TrajectoryDetector(const Judgement& clean, std::span<const int> rows);
  // Larger: less sure on the way than clean traffic.
  double score(const Judgement& judgement, int row) const;

 private:
  std::vector<double> mean_, deviation_;  // [num_exits - 1]
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
