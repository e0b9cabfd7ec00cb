// Receiver operating characteristic of a score that should be larger for positives (members).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "stats/intervals.h"

namespace offramp::stats {

struct RocPoint {
  double threshold;  // decide positive iff score >= threshold; the first point's is +infinity
  double fpr, tpr;
};

struct Roc {
  std::vector<RocPoint> points;  // from (0, 0) to (1, 1), one per distinct score
  double auc = 0;                // trapezoid: the probability of a correct order, ties counting half
};

// ValueError: no positive or no negative, a NaN score (infinities order like numbers).
Roc roc_curve(std::span<const double> positive_scores, std::span<const double> negative_scores);

// Largest tpr among the curve's points with fpr <= limit (no interpolation: what an attacker can reach).
double tpr_at_fpr(const Roc& roc, double limit);
// Largest (tpr + 1 - fpr) / 2 over the curve: the best accuracy on a balanced set.
double best_balanced_accuracy(const Roc& roc);

// With percentile bootstrap intervals, positives and negatives resampled separately.
Interval auc_interval(std::span<const double> positive_scores,
                      std::span<const double> negative_scores,
                      const BootstrapOptions& options = {});
Interval tpr_at_fpr_interval(std::span<const double> positive_scores,
                             std::span<const double> negative_scores,
                             double limit,
                             const BootstrapOptions& options = {});

}  // namespace offramp::stats
