#include "stats/divergences.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "stats/bandwidth.h"
#include "stats/checks.h"

namespace offramp::stats {
namespace {

std::vector<double> normalised(std::span<const double> w, const char* what) {
  require_finite(w, what, "weights");
  double sum = 0;
  for (const double v : w) {
    if (v < 0) {
      throw DataError(std::string(what) + ": weights must not be negative, got " + to_text(v));
    }
    sum += v;
  }
  if (!(sum > 0)) {
    throw DataError(std::string(what) + ": weights must have a positive sum, got " + to_text(sum));
  }
  std::vector<double> p(w.begin(), w.end());
  for (double& v : p) {
    v /= sum;
  }
  return p;
}

double kl(const std::vector<double>& p, const std::vector<double>& q) {
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] > 0) {
      sum += q[i] > 0 ? p[i] * std::log(p[i] / q[i]) : std::numeric_limits<double>::infinity();
    }
  }
  return std::max(sum, 0.0);
}

double in_base(double nats, LogBase base) { return base == LogBase::kBits ? nats / std::numbers::ln2 : nats; }

}  // namespace

double kl_divergence(std::span<const double> p, std::span<const double> q, LogBase base) {
  require_same_size(p.size(), "p", q.size(), "q", "kl_divergence");
  return in_base(kl(normalised(p, "kl_divergence"), normalised(q, "kl_divergence")), base);
}

double js_divergence(std::span<const double> p, std::span<const double> q, LogBase base) {
  require_same_size(p.size(), "p", q.size(), "q", "js_divergence");
  const std::vector<double> a = normalised(p, "js_divergence"), b = normalised(q, "js_divergence");
  std::vector<double> m(a.size());
  for (std::size_t i = 0; i < m.size(); ++i) {
    m[i] = (a[i] + b[i]) / 2;
  }
  return in_base(kl(a, m) / 2 + kl(b, m) / 2, base);
}

BinnedPair bin_losses(std::span<const double> first, std::span<const double> second, std::size_t bins) {
  const char* what = "bin_losses";
  require_some(first, what, "the first sample");
  require_some(second, what, "the second sample");
  require_finite(first, what, "the first sample");
  require_finite(second, what, "the second sample");
  if (bins == 0) {
    throw ValueError("bin_losses: at least one bin is needed, got 0");
  }
  std::vector<double> pooled(first.begin(), first.end());
  pooled.insert(pooled.end(), second.begin(), second.end());
  std::sort(pooled.begin(), pooled.end());
  if (pooled.front() < 0) {
    throw DataError("bin_losses: losses must not be negative, got " + to_text(pooled.front()));
  }
  BinnedPair r;
  r.top = sorted_quantile(pooled, 0.995);
  const auto count = [&](std::span<const double> sample) {
    std::vector<double> c(bins, 0.0);
    for (const double v : sample) {
      const double at = r.top > 0 ? v / r.top * static_cast<double>(bins)
                        : v > 0   ? static_cast<double>(bins)
                                  : 0;
      ++c[static_cast<std::size_t>(std::min(at, static_cast<double>(bins - 1)))];
    }
    return c;
  };
  r.first = count(first);
  r.second = count(second);
  return r;
}

double loss_js_divergence(std::span<const double> members,
                          std::span<const double> non_members,
                          std::size_t bins,
                          LogBase base) {
  const BinnedPair b = bin_losses(members, non_members, bins);
  return js_divergence(b.first, b.second, base);
}

LossDivergence loss_divergence_test(std::span<const double> members,
                                    std::span<const double> non_members,
                                    std::size_t bins,
                                    std::size_t permutations,
                                    std::uint64_t seed) {
  if (permutations == 0) throw ValueError("loss_divergence_test: at least one permutation is needed, got 0");
  const BinnedPair b = bin_losses(members, non_members, bins);
  LossDivergence out{.js_bits = js_divergence(b.first, b.second)};
  // The edges come from all losses together, so that a permutation deals out bins.
  std::vector<std::size_t> bin_of;
  for (std::size_t i = 0; i < bins; ++i)
    bin_of.insert(bin_of.end(), static_cast<std::size_t>(b.first[i] + b.second[i]), i);
  std::mt19937_64 rng(seed);
  std::size_t as_large = 1;
  for (std::size_t p = 0; p < permutations; ++p) {
    std::vector<double> first(bins), second(bins);
    for (std::size_t i = 0; i < bin_of.size(); ++i) {
      if (i < members.size()) std::swap(bin_of[i], bin_of[i + rng() % (bin_of.size() - i)]);
      ++(i < members.size() ? first : second)[bin_of[i]];
    }
    const double js = js_divergence(first, second);
    out.by_chance += js / static_cast<double>(permutations);
    as_large += js >= out.js_bits ? 1 : 0;
  }
  out.p_value = static_cast<double>(as_large) / static_cast<double>(permutations + 1);
  return out;
}

}  // namespace offramp::stats
