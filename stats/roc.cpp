#include "stats/roc.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "stats/checks.h"

namespace offramp::stats {
namespace {

void check(std::span<const double> scores, const char* name) {
  require_some(scores, "roc_curve", name);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) {
      throw DataError(std::string("roc_curve: ") + name + " must not hold NaN, got one at index " +
                      std::to_string(i));
    }
  }
}

Roc curve_of_sorted(const std::vector<double>& positive, const std::vector<double>& negative) {
  Roc roc;
  const double np = static_cast<double>(positive.size()), nn = static_cast<double>(negative.size());
  roc.points.push_back({std::numeric_limits<double>::infinity(), 0, 0});
  std::size_t i = 0, j = 0;
  while (i < positive.size() || j < negative.size()) {
    double at = -std::numeric_limits<double>::infinity();
    at = i < positive.size() ? std::max(at, positive[i]) : at;
    at = j < negative.size() ? std::max(at, negative[j]) : at;
    const std::size_t before = i, below = j;
    while (i < positive.size() && positive[i] == at) ++i;
    while (j < negative.size() && negative[j] == at) ++j;
    roc.points.push_back({at, static_cast<double>(j) / nn, static_cast<double>(i) / np});
    roc.auc += static_cast<double>(j - below) * (static_cast<double>(before) + static_cast<double>(i)) / 2;
  }
  roc.auc /= np * nn;
  return roc;
}

template <class F>
Interval resampled(std::span<const double> positive,
                   std::span<const double> negative,
                   const BootstrapOptions& options,
                   F f) {
  check(positive, "positive scores");
  check(negative, "negative scores");
  // Sorted once; a resample is a multiset of ranks, which a counting sort orders.
  std::vector<double> p(positive.begin(), positive.end()), n(negative.begin(), negative.end());
  std::sort(p.begin(), p.end(), std::greater<>());
  std::sort(n.begin(), n.end(), std::greater<>());
  const auto draw = [](const std::vector<double>& sorted, std::span<const std::size_t> index) {
    std::vector<std::size_t> count(sorted.size(), 0);
    for (const std::size_t i : index) ++count[i];
    std::vector<double> out;
    out.reserve(index.size());
    for (std::size_t i = 0; i < sorted.size(); ++i) out.insert(out.end(), count[i], sorted[i]);
    return out;
  };
  return bootstrap_two(
      p.size(),
      n.size(),
      [&](std::span<const std::size_t> a, std::span<const std::size_t> b) {
        return f(curve_of_sorted(draw(p, a), draw(n, b)));
      },
      options);
}

}  // namespace

Roc roc_curve(std::span<const double> positive_scores, std::span<const double> negative_scores) {
  check(positive_scores, "positive scores");
  check(negative_scores, "negative scores");
  std::vector<double> p(positive_scores.begin(), positive_scores.end());
  std::vector<double> n(negative_scores.begin(), negative_scores.end());
  std::sort(p.begin(), p.end(), std::greater<>());
  std::sort(n.begin(), n.end(), std::greater<>());
  return curve_of_sorted(p, n);
}

double tpr_at_fpr(const Roc& roc, double limit) {
  double best = 0;
  for (const RocPoint& p : roc.points) {
    best = p.fpr <= limit ? std::max(best, p.tpr) : best;
  }
  return best;
}

double best_balanced_accuracy(const Roc& roc) {
  double best = 0.5;
  for (const RocPoint& p : roc.points) {
    best = std::max(best, (p.tpr + 1 - p.fpr) / 2);
  }
  return best;
}

Interval auc_interval(std::span<const double> positive_scores,
                      std::span<const double> negative_scores,
                      const BootstrapOptions& options) {
  return resampled(positive_scores, negative_scores, options, [](const Roc& roc) { return roc.auc; });
}

Interval tpr_at_fpr_interval(std::span<const double> positive_scores,
                             std::span<const double> negative_scores,
                             double limit,
                             const BootstrapOptions& options) {
  return resampled(
      positive_scores, negative_scores, options, [limit](const Roc& roc) { return tpr_at_fpr(roc, limit); });
}

}  // namespace offramp::stats
