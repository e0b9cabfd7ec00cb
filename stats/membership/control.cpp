#include "stats/membership/control.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "stats/checks.h"
#include "stats/roc.h"

namespace offramp::stats {
namespace {

// Share of `sorted` below v, ties half: DeLong's placement of v.
double placement(double v, const std::vector<double>& sorted) {
  const auto [first, last] = std::equal_range(sorted.begin(), sorted.end(), v);
  return (static_cast<double>(first - sorted.begin()) + static_cast<double>(last - sorted.begin())) /
         (2 * static_cast<double>(sorted.size()));
}

double variance_of_mean(const std::vector<double>& v, double mean) {
  if (v.size() < 2) return 0;
  double sum = 0;
  for (const double x : v) sum += (x - mean) * (x - mean);
  const double n = static_cast<double>(v.size());
  return sum / (n - 1) / n;
}

// The chance that the AUC of two random halves lies as far from 0.5 as the mildest value that is farther than 95 % of them: 5 %,
// or what ties make of it. By halvings of its own; in doubled mid-ranks, which are whole, so that equal AUCs are equal.
double least_share_outside(std::vector<double> scores, std::uint64_t seed) {
  constexpr std::size_t kHalvings = 1999;
  std::sort(scores.begin(), scores.end());
  std::vector<std::int64_t> doubled;
  for (std::size_t begin = 0; begin < scores.size();) {
    const auto end = static_cast<std::size_t>(std::upper_bound(scores.begin(), scores.end(), scores[begin]) -
                                              scores.begin());
    doubled.insert(doubled.end(), end - begin, static_cast<std::int64_t>(begin + 1 + end));
    begin = end;
  }
  const std::size_t n = doubled.size(), half = n / 2;
  std::mt19937_64 rng(~seed);
  std::vector<std::int64_t> off;
  for (std::size_t r = 0; r < kHalvings; ++r) {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < half; ++i) {  // the first places of a shuffle
      std::swap(doubled[i], doubled[i + rng() % (n - i)]);
      sum += doubled[i];
    }
    off.push_back(std::abs(sum - static_cast<std::int64_t>(half * (n + 1))));
  }
  std::sort(off.begin(), off.end(), std::greater<>());
  const std::int64_t mildest = off[(kHalvings + 1) / 20 - 1];
  const auto outside = std::upper_bound(off.begin(), off.end(), mildest, std::greater<>()) - off.begin();
  return static_cast<double>(outside) / kHalvings;
}

}  // namespace

void halve_at_random(std::span<double> scores, std::mt19937_64& rng) {
  for (std::size_t i = scores.size(); i-- > 1;) std::swap(scores[i], scores[rng() % (i + 1)]);
}

Interval delong_auc(std::span<const double> positive_scores,
                    std::span<const double> negative_scores,
                    double level) {
  const double auc = roc_curve(positive_scores, negative_scores).auc;  // checks the scores
  std::vector<double> p(positive_scores.begin(), positive_scores.end());
  std::vector<double> n(negative_scores.begin(), negative_scores.end());
  std::sort(p.begin(), p.end());
  std::sort(n.begin(), n.end());
  std::vector<double> of_positives, of_negatives;
  for (const double v : p) of_positives.push_back(placement(v, n));
  for (const double v : n) of_negatives.push_back(1 - placement(v, p));
  const double deviation =
      std::sqrt(variance_of_mean(of_positives, auc) + variance_of_mean(of_negatives, auc));
  if (auc == 0 || auc == 1) {
    // Separated: so many disjoint pairs, each in order with probability AUC, all were.
    const double bound = std::pow(0.5 - level / 2, 1 / static_cast<double>(std::min(p.size(), n.size())));
    return auc == 1 ? Interval{1, bound, 1} : Interval{0, 0, 1 - bound};
  }
  const double z = boost::math::quantile(boost::math::normal(), 0.5 + level / 2);
  const double logit = std::log(auc / (1 - auc)), reach = z * deviation / (auc * (1 - auc));
  const auto expit = [](double x) { return 1 / (1 + std::exp(-x)); };
  return {auc, expit(logit - reach), expit(logit + reach)};
}

MemberControl member_control(std::span<const double> member_scores,
                             std::size_t repetitions,
                             std::uint64_t seed,
                             const Halving& halve) {
  if (member_scores.size() < 4) {
    throw DataError("member_control: needs at least four members, got " +
                    std::to_string(member_scores.size()));
  }
  MemberControl out{.repetitions = repetitions};
  std::vector<double> scores(member_scores.begin(), member_scores.end());
  std::mt19937_64 rng(seed);
  const std::size_t half = scores.size() / 2;
  double sum = 0;
  for (std::size_t r = 0; r < repetitions; ++r) {
    halve(scores, rng);
    const std::span<const double> all(scores);
    const Interval auc = delong_auc(all.first(half), all.subspan(half));
    sum += auc.estimate;
    out.inside += auc.low <= 0.5 && auc.high >= 0.5 ? 1 : 0;
  }
  if (repetitions > 0) out.mean_auc = sum / static_cast<double>(repetitions);
  out.passed = 8 * out.inside >= 7 * repetitions;
  if (out.passed) return out;
  out.allowed_share = std::max(out.allowed_share, least_share_outside(std::move(scores), seed));
  const boost::math::binomial misses(static_cast<double>(repetitions), out.allowed_share);
  const double rarer =
      boost::math::cdf(boost::math::complement(misses, static_cast<double>(repetitions - out.inside) - 1));
  out.passed = rarer >= 1e-5;
  return out;
}

}  // namespace offramp::stats
