#include "stats/exits/exit_mixture.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "stats/exits/time_cells.h"

namespace offramp::stats {
namespace {

constexpr std::size_t kMostExits = 12;
constexpr std::size_t kBootstraps = 60;
constexpr double kInterval = 0.9;
constexpr double kLeastTicks = 0.3;  // no spread is told below it

// Within the gap after the last cell of each exit, nearer to the narrower exit.
std::vector<double> thresholds_of(const TimeCells& cells,
                                  std::span<const double> counts,
                                  ShapeFit& fit,
                                  const ShapeMixture& m) {
  std::vector<double> out;
  if (m.exits() < 2 || cells.count.size() < 2) return out;
  const auto last = last_cells(counts, fit.responsibilities(m), m.exits());
  for (std::size_t k = 0; k < last.size(); ++k) {
    const double a = m.spread(k), b = m.spread(k + 1);
    const double part = a + b > 0 ? a / (a + b) : 0.5;
    const double low = cells.high[last[k]], high = cells.low[last[k] + 1];
    out.push_back(cells.origin_ns + cells.unit_ns * (low + (high - low) * part));
  }
  return out;
}

void bootstrap_thresholds(MixtureExits& r,
                          const TimeCells& cells,
                          double least_width,
                          const ShapeMixture& found) {
  const std::size_t thresholds = r.thresholds_ns.size();
  std::vector<std::vector<double>> drawn(thresholds);
  std::mt19937_64 rng(20);  // a fixed seed: the same times, the same intervals
  ShapeFit fit(cells, least_width);
  const double total = fit.total();
  std::vector<double> counts(cells.count.size());
  for (std::size_t b = 0; b < kBootstraps && thresholds > 0; ++b) {
    double sum = 0;
    for (std::size_t c = 0; c < counts.size(); ++c) {
      counts[c] = std::gamma_distribution<double>(cells.count[c], 1)(rng);
      sum += counts[c];
    }
    for (double& c : counts) c *= total / sum;
    fit.set_counts(counts);
    ShapeMixture m = found;
    fit.run(m, 12, 0.05);
    const auto t = thresholds_of(cells, counts, fit, m);
    for (std::size_t k = 0; k < thresholds; ++k) drawn[k].push_back(t[k]);
  }
  for (std::size_t k = 0; k < thresholds; ++k) {
    std::sort(drawn[k].begin(), drawn[k].end());
    const auto cut = static_cast<std::size_t>(0.025 * static_cast<double>(kBootstraps));
    r.threshold_low_ns.push_back(std::min(drawn[k][cut], r.thresholds_ns[k]));
    r.threshold_high_ns.push_back(std::max(drawn[k][kBootstraps - 1 - cut], r.thresholds_ns[k]));
  }
}

// Each sample has its cell's probabilities, a replaced time those of the nearest cell.
std::vector<double> probabilities_of(std::span<const double> times_ns,
                                     const TimeCells& cells,
                                     const std::vector<double>& of_cell,
                                     std::size_t exits) {
  std::vector<double> out;
  out.reserve(times_ns.size() * exits);
  for (std::size_t i = 0; i < times_ns.size(); ++i) {
    std::size_t c = cells.cell_of[i];
    if (c == TimeCells::kNone) {
      const double x = (times_ns[i] - cells.origin_ns) / cells.unit_ns;
      c = static_cast<std::size_t>(std::lower_bound(cells.high.begin(), cells.high.end(), x) -
                                   cells.high.begin());
      c = std::min(c, cells.count.size() - 1);
      if (c > 0 && x - cells.high[c - 1] < cells.low[c] - x) --c;
    }
    out.insert(out.end(), &of_cell[c * exits], &of_cell[c * exits] + exits);
  }
  return out;
}

void set_interval(MixtureExits& r) {
  std::size_t low = r.num_exits - 1, high = r.num_exits - 1;
  double inside = r.posterior[low];
  while (inside < kInterval && (low > 0 || high + 1 < r.posterior.size())) {
    const double below = low > 0 ? r.posterior[low - 1] : -1;
    const double above = high + 1 < r.posterior.size() ? r.posterior[high + 1] : -1;
    inside += above >= below ? r.posterior[++high] : r.posterior[--low];
  }
  r.least_exits = low + 1;
  r.most_exits = high + 1;
}

}  // namespace

MixtureExits mixture_exits(std::span<const double> times_ns,
                           double tick_ns,
                           double least_spread_ns,
                           std::optional<std::size_t> known,
                           unsigned threads) {
  const TimeCells cells = count_cells(times_ns, tick_ns);
  const double least_width =
      std::max({kLeastTicks, kLeastTicks * tick_ns / cells.unit_ns, least_spread_ns / cells.unit_ns});
  const std::size_t most = std::max(kMostExits, known.value_or(1));
  const ExitPosterior posterior = exit_posterior(cells, least_width, most, {}, threads, known.value_or(1));
  MixtureExits r;
  r.tick_ns = tick_ns;
  r.replaced = cells.replaced;
  r.posterior = probability_of_exits(posterior, most);
  std::size_t chosen = posterior.most_probable;
  if (known) {
    chosen = std::min(*known, posterior.best.size());
    const auto parted = [&](std::size_t exits) {
      const FittedExits& f = posterior.best[exits - 1];
      return f.all_win && (std::isfinite(f.criterion) || exits < posterior.most_probable);
    };
    while (chosen > 1 && !parted(chosen)) --chosen;
  }
  r.num_exits = chosen;
  const FittedExits& best = posterior.best[chosen - 1];
  const ShapeMixture& m = best.mixture;
  for (std::size_t k = 0; k < m.exits(); ++k)
    r.spreads_ns.push_back(std::max(m.spread(k), least_width) * cells.unit_ns);
  r.separation_sigmas = best.least_gap;
  ShapeFit fit(cells, least_width);
  r.thresholds_ns = thresholds_of(cells, cells.count, fit, m);
  bootstrap_thresholds(r, cells, least_width, m);
  r.probabilities = probabilities_of(times_ns, cells, fit.responsibilities(m), m.exits());
  set_interval(r);
  r.reliable = is_reliable(posterior, chosen);
  return r;
}

}  // namespace offramp::stats
