#include "attacks/evasion/detector.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace offramp::attacks::evasion {
namespace {

double log_odds(double confidence) {
  constexpr double kEdge = 1e-6;
  const double p = std::clamp(confidence, kEdge, 1 - kEdge);
  return std::log(p / (1 - p));
}

}  // namespace

TrajectoryDetector::TrajectoryDetector(const Judgement& clean, std::span<const int> rows)
    : exits_(static_cast<std::size_t>(clean.outputs.num_exits)),
      mean_(exits_, 0),
      factor_(exits_ * exits_, 0) {
  if (rows.size() < 2) throw ValueError("detector: expected at least two clean images to learn from");
  const auto value = [&](int row, std::size_t e) {
    return log_odds(clean.outputs.confidence[clean.outputs.at(row, static_cast<int>(e))]);
  };
  const auto n = static_cast<double>(rows.size());
  for (const int row : rows) {
    for (std::size_t e = 0; e < exits_; ++e) mean_[e] += value(row, e) / n;
  }
  std::vector<double> covariance(exits_ * exits_, 0);
  for (const int row : rows) {
    for (std::size_t a = 0; a < exits_; ++a) {
      for (std::size_t b = 0; b < exits_; ++b) {
        covariance[a * exits_ + b] += (value(row, a) - mean_[a]) * (value(row, b) - mean_[b]) / n;
      }
    }
  }
  for (std::size_t a = 0; a < exits_; ++a) covariance[a * exits_ + a] += 1e-3;
  for (std::size_t a = 0; a < exits_; ++a) {
    for (std::size_t b = 0; b <= a; ++b) {
      double sum = covariance[a * exits_ + b];
      for (std::size_t k = 0; k < b; ++k) sum -= factor_[a * exits_ + k] * factor_[b * exits_ + k];
      factor_[a * exits_ + b] = a == b ? std::sqrt(sum) : sum / factor_[b * exits_ + b];
    }
  }
}

double TrajectoryDetector::score(const Judgement& judgement, int row) const {
  std::vector<double> y(exits_);  // solves L y = x - mean
  double squares = 0;
  for (std::size_t a = 0; a < exits_; ++a) {
    double sum =
        log_odds(judgement.outputs.confidence[judgement.outputs.at(row, static_cast<int>(a))]) - mean_[a];
    for (std::size_t k = 0; k < a; ++k) sum -= factor_[a * exits_ + k] * y[k];
    y[a] = sum / factor_[a * exits_ + a];
    squares += y[a] * y[a];
  }
  return squares;
}

HistogramDetector::HistogramDetector(const Judgement& clean, std::span<const int> rows)
    : share_(static_cast<std::size_t>(clean.outputs.num_exits), 0.5) {
  if (rows.empty()) throw ValueError("detector: expected clean images to learn from, got none");
  for (const int row : rows) share_[static_cast<std::size_t>(clean.exit[static_cast<std::size_t>(row)])] += 1;
  const double sum = static_cast<double>(rows.size()) + 0.5 * static_cast<double>(share_.size());
  for (double& s : share_) s /= sum;
}

double HistogramDetector::score(const Judgement& judgement, std::span<const int> rows) const {
  std::vector<double> count(share_.size(), 0);
  for (const int row : rows) ++count[static_cast<std::size_t>(judgement.exit[static_cast<std::size_t>(row)])];
  double g = 0;
  for (std::size_t e = 0; e < count.size(); ++e) {
    if (count[e] > 0) g += 2 * count[e] * std::log(count[e] / (static_cast<double>(rows.size()) * share_[e]));
  }
  return g;
}

}  // namespace offramp::attacks::evasion
