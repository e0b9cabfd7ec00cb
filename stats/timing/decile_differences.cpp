#include "stats/timing/decile_differences.h"

#include <boost/math/distributions/chi_squared.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "stats/parallel.h"
#include "stats/timing/weighted_deciles.h"

namespace offramp::stats {
namespace {

constexpr std::size_t kLeastBlock = 10;
constexpr double kBlockOfTime = 10;     // a block holds so many correlation times ..
constexpr std::size_t kMostOfRun = 20;  // .. and the run at least so many blocks

// What the difference of a decile feels of each measurement: +-(1{t <= q} - p) / n of its class. Its correlation, not that
// of the times, is what widens the difference: with classes in random order slow spells cancel.
std::vector<double> influence(
    const ClassifiedTimes& t, const Deciles& a, const Deciles& b, std::size_t d, double n_a, double n_b) {
  std::vector<double> z(t.ns.size());
  const double p = 0.1 * static_cast<double>(d + 1);
  for (std::size_t i = 0; i < z.size(); ++i) {
    z[i] = t.is_b[i] != 0 ? ((t.ns[i] <= b[d] ? 1 : 0) - p) / n_b : -((t.ns[i] <= a[d] ? 1 : 0) - p) / n_a;
  }
  return z;
}

}  // namespace

double integrated_correlation_time(std::span<const double> series) {
  const std::size_t n = series.size();
  if (n < 20) return 1;
  const double mean = std::accumulate(series.begin(), series.end(), 0.0) / static_cast<double>(n);
  std::vector<double> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = series[i] - mean;
  const double variance = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
  if (!(variance > 0)) return 1;
  double sum = 1;
  for (std::size_t lag = 1; lag <= n / 10; ++lag) {
    const double c = std::inner_product(x.begin(),
                                        x.end() - static_cast<std::ptrdiff_t>(lag),
                                        x.begin() + static_cast<std::ptrdiff_t>(lag),
                                        0.0);
    sum += 2 * c / variance;
    if (static_cast<double>(lag) >= 5 * sum) break;
  }
  return std::max(1.0, sum);
}

std::vector<double> DecileDifferences::largest(std::uint64_t seed) const {
  std::vector<double> out(resampled.size(), 0);
  const double freedom = static_cast<double>(std::max<std::size_t>(atoms, 2) - 1);
  const boost::math::chi_squared spread(freedom);
  for (std::size_t r = 0; r < resampled.size(); ++r) {
    for (std::size_t d = 0; d < kDeciles; ++d) {
      if (deviation[d] > 0) out[r] = std::max(out[r], std::abs(resampled[r][d]) / deviation[d]);
    }
    // The deviations come from few atoms themselves: Student's t in place of the normal.
    const double u = (static_cast<double>(generator_of(seed, ~r)() >> 11) + 0.5) * 0x1p-53;
    out[r] *= std::sqrt(freedom / boost::math::quantile(spread, u));
  }
  std::sort(out.begin(), out.end());
  return out;
}

DecileDifferences decile_differences(const ClassifiedTimes& t, const TimingTestOptions& o) {
  const std::size_t n = t.ns.size();
  // The position of each measurement in the sorted values of its class.
  std::vector<std::uint32_t> by_time(n), place(n);
  std::iota(by_time.begin(), by_time.end(), 0u);
  std::stable_sort(by_time.begin(), by_time.end(), [&](auto i, auto j) { return t.ns[i] < t.ns[j]; });
  std::vector<double> sorted[2];
  for (const std::uint32_t i : by_time) {
    auto& values = sorted[t.is_b[i] != 0 ? 1 : 0];
    place[i] = static_cast<std::uint32_t>(values.size());
    values.push_back(t.ns[i]);
  }
  DecileDifferences out;
  out.n_a = sorted[0].size(), out.n_b = sorted[1].size();
  const auto n_a = static_cast<double>(out.n_a), n_b = static_cast<double>(out.n_b);
  const Deciles a = deciles(sorted[0]), b = deciles(sorted[1]);
  for (std::size_t d = 0; d < kDeciles; ++d) out.difference[d] = b[d] - a[d];

  // What is drawn together. Inputs: all measurements of one. Else: `block` neighbours in time, round the end.
  std::vector<std::vector<std::uint32_t>> inputs;
  if (!t.input.empty()) {
    std::map<std::pair<std::int64_t, std::uint8_t>, std::size_t> of;
    for (std::size_t i = 0; i < n; ++i) {
      const auto [at, fresh] = of.try_emplace({t.input[i], t.is_b[i]}, inputs.size());
      if (fresh) inputs.emplace_back();
      inputs[at->second].push_back(static_cast<std::uint32_t>(i));
    }
  }
  const bool whole_inputs = !inputs.empty() && inputs.size() < n;
  if (whole_inputs) {
    out.atoms = inputs.size();
  } else {
    for (const std::size_t d : {std::size_t{0}, std::size_t{4}, std::size_t{8}}) {
      out.correlation_time =
          std::max(out.correlation_time, integrated_correlation_time(influence(t, a, b, d, n_a, n_b)));
    }
    const auto wanted = static_cast<std::size_t>(std::ceil(kBlockOfTime * (out.correlation_time - 1)));
    out.block = o.block.value_or(std::clamp(wanted, kLeastBlock, std::max(kLeastBlock, n / kMostOfRun)));
    out.block = std::clamp<std::size_t>(out.block, 1, n);
    out.atoms = (n + out.block - 1) / out.block;
  }

  out.resampled.resize(o.resamples);
  WorkerPool pool(o.threads);
  pool.run(o.resamples, [&](std::size_t r) {
    std::mt19937_64 rng = generator_of(o.seed, r);
    std::vector<std::uint32_t> times[2] = {std::vector<std::uint32_t>(out.n_a),
                                           std::vector<std::uint32_t>(out.n_b)};
    std::uint64_t total[2] = {0, 0};
    const auto take = [&](std::size_t i) {
      const std::size_t c = t.is_b[i] != 0 ? 1 : 0;
      ++times[c][place[i]];
      ++total[c];
    };
    if (whole_inputs) {
      for (std::size_t k = 0; k < inputs.size(); ++k) {
        for (const std::uint32_t i : inputs[draw_below(rng, inputs.size())]) take(i);
      }
    } else {
      for (std::size_t drawn = 0; drawn < n;) {
        std::size_t i = draw_below(rng, n);
        for (std::size_t k = 0; k < out.block && drawn < n; ++k, ++drawn) {
          take(i);
          i = i + 1 == n ? 0 : i + 1;
        }
      }
    }
    // A resample without one class (tiny or badly mixed ones) says nothing of the difference.
    if (total[0] == 0 || total[1] == 0) {
      out.resampled[r].fill(0);
      return;
    }
    const Deciles ra = deciles_of_counts(sorted[0], times[0], total[0]),
                  rb = deciles_of_counts(sorted[1], times[1], total[1]);
    for (std::size_t d = 0; d < kDeciles; ++d) out.resampled[r][d] = rb[d] - ra[d] - out.difference[d];
  });

  // Blocks of length L miss about (tau - 1) / 2 of the L correlations at their ends (first order, exponential decay).
  const double kept =
      whole_inputs ? 1 : 1 - (out.correlation_time - 1) / (2 * static_cast<double>(out.block));
  const double widen = 1 / std::sqrt(std::clamp(kept, 0.25, 1.0));
  for (std::size_t d = 0; d < kDeciles; ++d) {
    double sum = 0;
    for (const Deciles& r : out.resampled) sum += r[d] * r[d];
    out.deviation[d] = std::sqrt(sum / static_cast<double>(o.resamples));
  }
  if (widen > 1) {
    for (Deciles& r : out.resampled)
      for (double& v : r) v *= widen;
    for (double& s : out.deviation) s *= widen;
  }
  return out;
}

}  // namespace offramp::stats
