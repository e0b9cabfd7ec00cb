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

double log_odds_at(const Judgement& judgement, int row, std::size_t exit) {
  return log_odds(judgement.outputs.confidence[judgement.outputs.at(row, static_cast<int>(exit))]);
}

}  // namespace

TrajectoryDetector::TrajectoryDetector(const Judgement& clean, std::span<const int> rows) {
  if (rows.size() < 2) throw ValueError("detector: expected at least two clean images to learn from");
  if (clean.outputs.num_exits < 2)
    throw ValueError("detector: expected internal classifiers, the net has one exit");
  const auto n = static_cast<double>(rows.size());
  for (std::size_t e = 0; e + 1 < static_cast<std::size_t>(clean.outputs.num_exits); ++e) {
    double mean = 0, squares = 0;
    for (const int row : rows) mean += log_odds_at(clean, row, e) / n;
    for (const int row : rows) squares += std::pow(log_odds_at(clean, row, e) - mean, 2) / n;
    mean_.push_back(mean);
    deviation_.push_back(std::max(std::sqrt(squares), 1e-6));
  }
}

double TrajectoryDetector::score(const Judgement& judgement, int row) const {
  double sum = 0;
  for (std::size_t e = 0; e < mean_.size(); ++e) {
    sum += (log_odds_at(judgement, row, e) - mean_[e]) / deviation_[e];
  }
  return -sum / static_cast<double>(mean_.size());
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
