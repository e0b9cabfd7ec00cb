#include "stats/hypothesis_tests.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "stats/bandwidth.h"
#include "stats/checks.h"

namespace offramp::stats {
namespace {

constexpr std::size_t kExactLimit = 60;

std::vector<double> differences(std::span<const double> a, std::span<const double> b, const char* what) {
  require_same_size(a.size(), "a", b.size(), "b", what);
  require_some(a, what, "a");
  require_finite(a, what, "a");
  require_finite(b, what, "b");
  std::vector<double> d;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i]) {
      d.push_back(a[i] - b[i]);
    }
  }
  return d;
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
  const std::vector<double> d = differences(a, b, "sign_test");
  const auto positive = std::count_if(d.begin(), d.end(), [](double v) { return v > 0; });
  TestResult r = {static_cast<double>(positive), 1};
  if (!d.empty()) {
    const double n = static_cast<double>(d.size());
    const double fewer = std::min(static_cast<double>(positive), n - static_cast<double>(positive));
    r.p_value = std::min(1.0, 2 * boost::math::cdf(boost::math::binomial(n, 0.5), fewer));
  }
  return r;
}

TestResult wilcoxon_signed_rank(std::span<const double> a, std::span<const double> b) {
  std::vector<double> d = differences(a, b, "wilcoxon_signed_rank");
  std::sort(d.begin(), d.end(), [](double x, double y) { return std::abs(x) < std::abs(y); });
  const std::size_t n = d.size();
  double positive = 0, tie_term = 0;
  bool ties = false;
  for (std::size_t begin = 0; begin < n;) {
    std::size_t end = begin;
    while (end < n && std::abs(d[end]) == std::abs(d[begin])) ++end;
    const double rank = (static_cast<double>(begin) + 1 + static_cast<double>(end)) / 2;
    const double t = static_cast<double>(end - begin);
    ties = ties || end - begin > 1;
    tie_term += t * t * t - t;
    for (std::size_t i = begin; i < end; ++i) {
      positive += d[i] > 0 ? rank : 0;
    }
    begin = end;
  }
  TestResult r = {positive, 1};
  if (n == 0) {
    return r;
  }
  const double total = static_cast<double>(n) * (static_cast<double>(n) + 1) / 2;
  const double low = std::min(positive, total - positive);
  if (!ties && n <= kExactLimit) {
    // Subsets of 1..n by sum: each sign pattern is equally likely.
    std::vector<double> share(static_cast<std::size_t>(total) + 1, 0.0);
    share[0] = 1;
    for (std::size_t rank = 1; rank <= n; ++rank) {
      for (std::size_t s = share.size(); s-- > 0;) {
        share[s] = share[s] / 2 + (s >= rank ? share[s - rank] / 2 : 0);
      }
    }
    double tail = 0;
    for (std::size_t s = 0; s <= static_cast<std::size_t>(low); ++s) {
      tail += share[s];
    }
    r.p_value = std::min(1.0, 2 * tail);
    return r;
  }
  const double nn = static_cast<double>(n);
  const double variance = nn * (nn + 1) * (2 * nn + 1) / 24 - tie_term / 48;
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
  const double freedom = (va + vb) * (va + vb) / (va * va / (na - 1) + vb * vb / (nb - 1));
  return {t, 2 * boost::math::cdf(boost::math::students_t(freedom), -std::abs(t))};
}

}  // namespace offramp::stats
