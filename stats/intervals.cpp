#include "stats/intervals.h"

#include <algorithm>
#include <boost/math/distributions/beta.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>
#include <random>
#include <string>

#include "stats/bandwidth.h"
#include "stats/checks.h"
#include "stats/parallel.h"

namespace offramp::stats {
namespace {

void check_level(double level, const char* what) {
  if (!(level > 0 && level < 1)) {
    throw ValueError(std::string(what) + ": the level must lie in (0, 1), got " + to_text(level));
  }
}

void check_share(std::size_t successes, std::size_t trials, double level, const char* what) {
  check_level(level, what);
  if (trials == 0 || successes > trials) {
    throw ValueError(std::string(what) + ": needs 1 <= trials and successes <= trials, got " +
                     std::to_string(successes) + " of " + std::to_string(trials));
  }
}

// splitmix64: spreads (seed, resample) over the generator's whole state.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// Uniform index below n by multiplication; the bias is n / 2^64.
std::size_t below(std::mt19937_64& rng, std::size_t n) {
  return static_cast<std::size_t>((static_cast<unsigned __int128>(rng()) * n) >> 64);
}

}  // namespace

Interval wilson_interval(std::size_t successes, std::size_t trials, double level) {
  check_share(successes, trials, level, "wilson_interval");
  const double z = boost::math::quantile(boost::math::normal(), 0.5 + level / 2);
  const double n = static_cast<double>(trials), p = static_cast<double>(successes) / n, z2 = z * z / n;
  const double centre = (p + z2 / 2) / (1 + z2),
               half = z * std::sqrt(p * (1 - p) / n + z2 / (4 * n)) / (1 + z2);
  // Exactly the ends at 0 and n: rounding would leave the estimate outside.
  return {p,
          successes == 0 ? 0 : std::max(0.0, centre - half),
          successes == trials ? 1 : std::min(1.0, centre + half)};
}

Interval mean_rate_interval(std::size_t successes_first,
                            std::size_t trials_first,
                            std::size_t successes_second,
                            std::size_t trials_second,
                            double level) {
  const Interval a = exact_interval(successes_first, trials_first, level),
                 b = exact_interval(successes_second, trials_second, level);
  const double mean = (a.estimate + b.estimate) / 2;
  return {mean,
          mean - std::hypot(a.estimate - a.low, b.estimate - b.low) / 2,
          mean + std::hypot(a.high - a.estimate, b.high - b.estimate) / 2};
}

Interval exact_interval(std::size_t successes, std::size_t trials, double level) {
  check_share(successes, trials, level, "exact_interval");
  using boost::math::beta_distribution;
  const double k = static_cast<double>(successes), n = static_cast<double>(trials), tail = (1 - level) / 2;
  Interval r = {k / n, 0, 1};
  if (successes > 0) {
    r.low = boost::math::quantile(beta_distribution<>(k, n - k + 1), tail);
  }
  if (successes < trials) {
    r.high = boost::math::quantile(beta_distribution<>(k + 1, n - k), 1 - tail);
  }
  return r;
}

Interval mean_interval(std::span<const double> sample, double level) {
  check_level(level, "mean_interval");
  require_finite(sample, "mean_interval", "the sample");
  if (sample.size() < 2) {
    throw DataError("mean_interval: needs at least two values, got " + std::to_string(sample.size()));
  }
  const double n = static_cast<double>(sample.size()), mean = sample_mean(sample);
  const double t = boost::math::quantile(boost::math::students_t(n - 1), 0.5 + level / 2);
  const double half = t * sample_sd(sample) / std::sqrt(n);
  if (!std::isfinite(mean) || !std::isfinite(half))
    throw DataError("mean_interval: the squares of the values exceed what a double holds");
  return {mean, mean - half, mean + half};
}

Interval bootstrap_two(
    std::size_t n_first,
    std::size_t n_second,
    const std::function<double(std::span<const std::size_t>, std::span<const std::size_t>)>& statistic,
    const BootstrapOptions& options) {
  check_level(options.level, "bootstrap");
  if (n_first == 0 || options.resamples == 0) {
    throw ValueError("bootstrap: needs at least one item and one resample, got " + std::to_string(n_first) +
                     " items and " + std::to_string(options.resamples) + " resamples");
  }
  std::vector<std::size_t> first(n_first), second(n_second);
  std::iota(first.begin(), first.end(), std::size_t{0});
  std::iota(second.begin(), second.end(), std::size_t{0});
  Interval r;
  r.estimate = statistic(first, second);
  std::vector<double> values(options.resamples);
  WorkerPool(options.threads).run(options.resamples, [&](std::size_t i) {
    std::mt19937_64 rng(mix(mix(options.seed) ^ static_cast<std::uint64_t>(i)));
    std::vector<std::size_t> a(n_first), b(n_second);
    for (std::size_t& v : a) {
      v = below(rng, n_first);
    }
    for (std::size_t& v : b) {
      v = below(rng, n_second);
    }
    values[i] = statistic(a, b);
  });
  std::sort(values.begin(), values.end());
  r.low = sorted_quantile(values, (1 - options.level) / 2);
  r.high = sorted_quantile(values, (1 + options.level) / 2);
  return r;
}

Interval bootstrap(std::size_t n,
                   const std::function<double(std::span<const std::size_t>)>& statistic,
                   const BootstrapOptions& options) {
  return bootstrap_two(
      n,
      0,
      [&](std::span<const std::size_t> a, std::span<const std::size_t>) { return statistic(a); },
      options);
}

}  // namespace offramp::stats
