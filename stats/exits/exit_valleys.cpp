#include "stats/exits/exit_valleys.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stats/bandwidth.h"
#include "stats/checks.h"
#include "stats/exits/valleys.h"

namespace offramp::stats {
namespace {

// A coarse timer puts many samples on few values; a density narrower than its tick would see every tick as an
// exit. Half the values repeated counts as coarse; the tick is the smallest distance seen.
double timer_tick(std::span<const double> sorted) {
  std::size_t distinct = 1;
  double tick = std::numeric_limits<double>::infinity();
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i] != sorted[i - 1]) {
      ++distinct;
      tick = std::min(tick, sorted[i] - sorted[i - 1]);
    }
  }
  return distinct > 1 && 2 * distinct <= sorted.size() ? tick : 0;
}

// Pooled robust deviation within the clusters cut by `valleys`: IQR / 1.349 of each with 8 samples or more.
double within_clusters(std::span<const double> sorted, const DensityExtrema& e) {
  double sum = 0, weight = 0;
  std::size_t begin = 0;
  for (std::size_t v = 0; v <= e.valleys.size(); ++v) {
    const auto end =
        v == e.valleys.size()
            ? sorted.size()
            : static_cast<std::size_t>(std::upper_bound(sorted.begin(), sorted.end(), e.valleys[v].x) -
                                       sorted.begin());
    const auto part = sorted.subspan(begin, end - begin);
    if (part.size() >= 8) {
      const double sd = (sorted_quantile(part, 0.75) - sorted_quantile(part, 0.25)) / 1.3489795003921634;
      sum += sd * sd * static_cast<double>(part.size());
      weight += static_cast<double>(part.size());
    }
    begin = end;
  }
  return weight > 0 ? std::sqrt(sum / weight) : 0;
}

// Without re-measurement: clusters at the plug-in bandwidth, their spread as noise, once more with that
// noise.
double noise_from_spread(std::span<const double> sorted, const EstimationOptions& o) {
  double h = isj_bandwidth(sorted), sigma = 2 * h;
  for (int round = 0; round < 3; ++round) {
    DensityExtrema e = density_extrema(sorted, h, o.threads, o.density);
    prune_valleys(e, sorted, o.max_valley_ratio, o.min_share);
    const double within = within_clusters(sorted, e);
    if (within <= 0) {
      break;
    }
    sigma = within;
    h = sigma / 2;
  }
  return sigma;
}

DensityExtrema density_valleys(std::span<const double> sorted,
                               double sigma,
                               const EstimationOptions& o,
                               double& h) {
  DensityExtrema e = density_extrema(sorted, h, o.threads, o.density);
  h = e.bandwidth;
  if (!o.known_exits) {
    prune_valleys(e, sorted, o.max_valley_ratio, o.min_share);
    return e;
  }
  // One far outlier makes the deepest valley of all: rare clusters go first, if enough others remain.
  const auto candidates = [&](const DensityExtrema& all) {
    DensityExtrema kept = all;
    merge_small_clusters(kept, sorted, o.min_share);
    if (kept.valleys.size() + 1 < *o.known_exits) {
      kept = all;
      merge_small_clusters(kept, sorted, 1 / static_cast<double>(sorted.size()));
    }
    return kept;
  };
  e = candidates(e);
  while (e.valleys.size() + 1 < *o.known_exits && h * 0.8 >= 0.1 * sigma) {
    h *= 0.8;
    e = candidates(density_extrema(sorted, h, o.threads, o.density));
  }
  keep_prominent_valleys(e, *o.known_exits - 1);
  return e;
}

// Section 2.3: MAP segmentation of the sorted times in units of 6 sigma, then merged by the density's
// valleys.
DensityExtrema changepoint_valleys(std::span<const double> sorted,
                                   double sigma,
                                   const EstimationOptions& o,
                                   double h) {
  std::vector<double> scaled(sorted.begin(), sorted.end());
  const double mean = sample_mean(sorted);
  for (double& t : scaled) {
    t = (t - mean) / (6 * sigma);
  }
  const NormalGammaPrior prior = {0, 1, 1, 1};
  const LengthPrior length = LengthPrior::constant(scaled.size());
  const MapSegmentation map = o.segmentation
                                  ? o.segmentation(scaled, prior, length)
                                  : map_segmentation(scaled, prior, length, {o.threads, scaled.size()});
  const auto density_at = [&](std::span<const double> points) {
    // 32 cells a bandwidth, kernels to 6 h: within 1e-7 of the peak; a range of too many cells stays here
    const bool fits = o.density && (sorted.back() - sorted.front()) * 32 / h < (1 << 20) - 64;
    return fits ? o.density(sorted, points, h, h / 32, 6) : kde_binned(sorted, points, h, 1e-6, o.threads);
  };
  const std::vector<double> f = density_at(sorted);
  DensityExtrema e;
  e.bandwidth = h;
  std::vector<std::size_t> top;
  for (std::size_t s = 0; s < map.starts.size(); ++s) {
    const std::size_t end = s + 1 < map.starts.size() ? map.starts[s + 1] : sorted.size();
    std::size_t peak = map.starts[s];
    for (std::size_t i = peak; i < end; ++i) {
      peak = f[i] > f[peak] ? i : peak;
    }
    top.push_back(peak);
    e.peaks.push_back({sorted[peak], f[peak]});
  }
  std::vector<double> middle;
  for (std::size_t s = 1; s < map.starts.size(); ++s) {
    const double before = sorted[map.starts[s] - 1], after = sorted[map.starts[s]];
    middle.push_back(before + (after - before) / 2);
  }
  const std::vector<double> at_middle = density_at(middle);
  for (std::size_t s = 0; s < middle.size(); ++s) {
    const auto low = std::min_element(f.begin() + static_cast<std::ptrdiff_t>(top[s]),
                                      f.begin() + static_cast<std::ptrdiff_t>(top[s + 1]) + 1);
    e.valleys.push_back({middle[s], std::max(0.0, std::min(*low, at_middle[s]))});
  }
  if (o.known_exits) {
    keep_prominent_valleys(e, *o.known_exits - 1);
  } else {
    prune_valleys(e, sorted, o.max_valley_ratio, o.min_share);
  }
  return e;
}

}  // namespace

void estimate_by_valleys(ExitEstimate& r,
                         std::span<const double> sorted,
                         std::size_t repetitions,
                         const EstimationOptions& options) {
  const bool all_equal = sorted.front() == sorted.back();
  if (options.sigma_ns) {
    r.sigma_ns = *options.sigma_ns;
    r.sigma_source = SigmaSource::kGiven;
  } else if (repetitions >= 2) {
    r.sigma_source = SigmaSource::kRepetitions;
  } else if (!all_equal) {
    r.sigma_ns = noise_from_spread(sorted, options);
    r.sigma_source = SigmaSource::kWithinClusters;
  }
  if (!all_equal) {
    // Neighbouring ticks must blend: h >= 0.6 ticks, that is sigma >= 1.2 ticks.
    const double tick = timer_tick(sorted);
    const double least = tick > 0 ? 1.2 * tick : 1e-6 * (sorted.back() - sorted.front());
    if (!options.sigma_ns && r.sigma_ns < least) {
      r.sigma_ns = least;
      r.sigma_source = SigmaSource::kTimerResolution;
    }
    double h = r.sigma_ns / 2;
    if (r.sigma_source == SigmaSource::kRepetitions)
      h = std::max(
          h,
          options.least_bandwidth_share * (sorted_quantile(sorted, 0.995) - sorted_quantile(sorted, 0.005)));
    h = options.bandwidth_ns.value_or(h);
    const DensityExtrema e = options.method == EstimationMethod::kDensity
                                 ? density_valleys(sorted, r.sigma_ns, options, h)
                                 : changepoint_valleys(sorted, r.sigma_ns, options, h);
    r.bandwidth_ns = h;
    for (const auto& valley : e.valleys) {
      r.thresholds_ns.push_back(valley.x);
    }
    r.num_exits = e.valleys.size() + 1;
  }
}

}  // namespace offramp::stats
