#include "stats/hypothesis_tests.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "stats/bandwidth.h"
#include "stats/checks.h"

namespace offramp::stats {
namespace {

constexpr std::size_t kExactLimit = 60;

// a - b where they differ, and how far it may be off because decimal fractions are none of doubles: 597.5 - 597.4 and
// 0.2 - 0.1 are not the same, but tied.
struct Difference {
  double value, rounding;
};

std::vector<Difference> differences(std::span<const double> a, std::span<const double> b, const char* what) {
  constexpr double kUlps = 2;
  require_same_size(a.size(), "a", b.size(), "b", what);
  require_some(a, what, "a");
  require_finite(a, what, "a");
  require_finite(b, what, "b");
  std::vector<Difference> d;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i]) {
      d.push_back(
          {a[i] - b[i],
           kUlps * std::numeric_limits<double>::epsilon() * std::max(std::abs(a[i]), std::abs(b[i]))});
    }
  }
  return d;
}

// Mid-ranks of |d|, doubled so that they are whole: tied sizes at sorted places i+1..j share (i+1+j)/2.
struct SignedRanks {
  std::vector<std::size_t> doubled;  // rising
  double positive = 0;               // the ranks of the positive differences, summed
  double tie_term = 0;               // sum of t^3 - t over groups of t equal sizes
};

SignedRanks signed_ranks(std::vector<Difference> d) {
  std::sort(d.begin(), d.end(), [](const Difference& x, const Difference& y) {
    return std::abs(x.value) < std::abs(y.value);
  });
  const auto tied = [](const Difference& x, const Difference& y) {  // neighbours
    return std::abs(y.value) - std::abs(x.value) <= x.rounding + y.rounding;
  };
  SignedRanks out;
  for (std::size_t begin = 0; begin < d.size();) {
    std::size_t end = begin + 1;
    while (end < d.size() && tied(d[end - 1], d[end])) ++end;
    const std::size_t doubled = begin + 1 + end;
    const double t = static_cast<double>(end - begin);
    out.tie_term += t * t * t - t;
    for (std::size_t i = begin; i < end; ++i) {
      out.doubled.push_back(doubled);
      out.positive += d[i].value > 0 ? static_cast<double>(doubled) / 2 : 0;
    }
    begin = end;
  }
  return out;
}

// P(sum of a random subset of the ranks <= low): under the null hypothesis each of the 2^n sign patterns is
// equally likely, whatever ties there are. share[s] after k ranks: the share of their 2^k subsets of sum s.
double exact_lower_tail(const std::vector<std::size_t>& doubled, std::size_t low) {
  std::vector<double> share(std::accumulate(doubled.begin(), doubled.end(), std::size_t{1}), 0.0);
  share[0] = 1;
  for (const std::size_t rank : doubled) {
    for (std::size_t s = share.size(); s-- > 0;) {
      share[s] = share[s] / 2 + (s >= rank ? share[s - rank] / 2 : 0);
    }
  }
  double tail = 0;
  for (std::size_t s = 0; s <= low; ++s) tail += share[s];
  return tail;
}

std::size_t repetitions(double factor, double sigma, double gap, const char* what) {
  if (!(sigma >= 0) || !std::isfinite(sigma) || !(gap > 0) || !std::isfinite(gap)) {
    throw ValueError(std::string(what) + ": needs a finite sigma >= 0 and a finite gap > 0, got " +
                     to_text(sigma) + " and " + to_text(gap));
  }
  const double n = std::ceil(factor * (sigma / gap) * (sigma / gap));
  if (n > 9e15) {
    throw ValueError(std::string(what) + ": more than 9e15 repetitions");
  }
  return std::max<std::size_t>(1, static_cast<std::size_t>(n));
}

}  // namespace

std::size_t repetitions_to_distinguish(double sigma, double gap, double z) {
  return repetitions(2 * z * z, sigma, gap, "repetitions_to_distinguish");
}

std::size_t repetitions_to_cluster(double sigma, double gap) {
  return repetitions(36, sigma, gap, "repetitions_to_cluster");
}

TestResult sign_test(std::span<const double> a, std::span<const double> b) {
  const std::vector<Difference> d = differences(a, b, "sign_test");
  const auto positive = std::count_if(d.begin(), d.end(), [](const Difference& v) { return v.value > 0; });
  TestResult r = {static_cast<double>(positive), 1};
  if (!d.empty()) {
    const double n = static_cast<double>(d.size());
    const double fewer = std::min(static_cast<double>(positive), n - static_cast<double>(positive));
    r.p_value = std::min(1.0, 2 * boost::math::cdf(boost::math::binomial(n, 0.5), fewer));
  }
  return r;
}

TestResult wilcoxon_signed_rank(std::span<const double> a, std::span<const double> b) {
  const SignedRanks ranks = signed_ranks(differences(a, b, "wilcoxon_signed_rank"));
  const auto n = static_cast<double>(ranks.doubled.size());
  const double total = n * (n + 1) / 2;
  const double low = std::min(ranks.positive, total - ranks.positive);
  TestResult r = {ranks.positive, 1};
  if (ranks.doubled.empty()) return r;
  if (ranks.doubled.size() <= kExactLimit) {
    r.p_value = std::min(1.0, 2 * exact_lower_tail(ranks.doubled, static_cast<std::size_t>(2 * low)));
    return r;
  }
  const double variance = n * (n + 1) * (2 * n + 1) / 24 - ranks.tie_term / 48;
  const double z = (low - total / 2 + 0.5) / std::sqrt(variance);
  r.p_value = std::min(1.0, 2 * boost::math::cdf(boost::math::normal(), z));
  return r;
}

TestResult welch_t_test(std::span<const double> a, std::span<const double> b) {
  for (const auto& [sample, name] : {std::pair{a, "a"}, std::pair{b, "b"}}) {
    require_finite(sample, "welch_t_test", name);
    if (sample.size() < 2) {
      throw DataError(std::string("welch_t_test: ") + name + " needs at least two values, got " +
                      std::to_string(sample.size()));
    }
  }
  const double na = static_cast<double>(a.size()), nb = static_cast<double>(b.size());
  const double va = std::pow(sample_sd(a), 2) / na, vb = std::pow(sample_sd(b), 2) / nb;
  const double difference = sample_mean(a) - sample_mean(b);
  if (va + vb == 0) {
    const double infinite = std::copysign(std::numeric_limits<double>::infinity(), difference);
    return difference == 0 ? TestResult{0, 1} : TestResult{infinite, 0};
  }
  const double t = difference / std::sqrt(va + vb);
  if (!std::isfinite(va + vb) || !std::isfinite(difference))
    throw DataError("welch_t_test: the squares of the values exceed what a double holds");
  // In shares of the whole variance: the fourth powers of large times would overflow, those of small ones vanish.
  const double of_a = va / (va + vb), of_b = vb / (va + vb);
  const double freedom = 1 / (of_a * of_a / (na - 1) + of_b * of_b / (nb - 1));
  return {t, 2 * boost::math::cdf(boost::math::students_t(freedom), -std::abs(t))};
}

}  // namespace offramp::stats
