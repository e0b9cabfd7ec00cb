#include "stats/exits/exit_estimation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "stats/bandwidth.h"
#include "stats/changepoint.h"
#include "stats/checks.h"
#include "stats/exits/exit_mixture.h"
#include "stats/exits/time_cells.h"
#include "stats/exits/valleys.h"
#include "stats/kde.h"

namespace offramp::stats {
namespace {

constexpr double kNeededSigmas =
    6;  // specs/extraction.md 2.2: count right in 15 of 15 runs from six sigma on
constexpr double kLongestTime = 1e15;        // ns; doubles still resolve an eighth of one there
constexpr std::size_t kSamplesOfAnExit = 4;  // of the mixture, at least
constexpr double kDriftLimit = 1;            // sigma over the run that is worth a warning

void check(std::span<const double> times, std::size_t repetitions, const EstimationOptions& o) {
  const char* what = "estimate_exits";
  require_some(times, what, "times");
  require_finite(times, what, "times");
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (times[i] < 0) {
      throw DataError("estimate_exits: times must not be negative, got " + to_text(times[i]) +
                      " ns at index " + std::to_string(i));
    }
    if (times[i] > kLongestTime) {
      throw DataError("estimate_exits: times must not exceed " + to_text(kLongestTime) +
                      " ns (eleven days), got " + to_text(times[i]) + " at index " + std::to_string(i));
    }
  }
  if (repetitions == 0 || times.size() % repetitions != 0) {
    throw DataError("estimate_exits: " + std::to_string(times.size()) + " times are no multiple of " +
                    std::to_string(repetitions) + " repetitions");
  }
  const std::size_t n = times.size() / repetitions;
  if (o.known_exits && (*o.known_exits < 1 || *o.known_exits > n)) {
    throw ValueError("estimate_exits: known_exits must lie in 1.." + std::to_string(n) +
                     " (the samples), got " + std::to_string(*o.known_exits));
  }
  if (!(o.least_bandwidth_share >= 0 && o.least_bandwidth_share < 1)) {
    throw ValueError("estimate_exits: least_bandwidth_share must lie in [0,1), got " +
                     to_text(o.least_bandwidth_share));
  }
  for (const auto& [value, name] :
       {std::pair{o.sigma_ns, "sigma_ns"}, std::pair{o.bandwidth_ns, "bandwidth_ns"}}) {
    if (value && (!(*value > 0) || !std::isfinite(*value))) {
      throw ValueError(std::string("estimate_exits: ") + name + " must be positive and finite, got " +
                       to_text(*value));
    }
  }
  if (o.method == EstimationMethod::kChangepoints && n > o.max_changepoint_samples) {
    throw ValueError(
        "estimate_exits: the changepoint method takes n^2/2 steps, " + std::to_string(n) +
        " samples exceed max_changepoint_samples = " + std::to_string(o.max_changepoint_samples));
  }
}

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

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

// The mixture's part of an estimate; sigma_ns: of the repetitions, or 0.
void estimate_by_mixture(ExitEstimate& r,
                         std::span<const double> raw_ns,
                         double sigma,
                         const EstimationOptions& o) {
  constexpr double kOfNoise = 0.3;  // the noise of half the repetitions is an upper bound
  const double tick = clock_tick(raw_ns);
  std::vector<double> times = r.statistic_ns;
  if (raw_ns.size() > times.size()) put_on_grid(times, tick);
  MixtureExits m = mixture_exits(times, tick, kOfNoise * sigma, o.known_exits, o.threads);
  r.num_exits = m.num_exits;
  r.thresholds_ns = std::move(m.thresholds_ns);
  r.threshold_low_ns = std::move(m.threshold_low_ns);
  r.threshold_high_ns = std::move(m.threshold_high_ns);
  r.posterior = std::move(m.posterior);
  r.probabilities = std::move(m.probabilities);
  r.spreads_ns = std::move(m.spreads_ns);
  r.least_exits = m.least_exits;
  r.most_exits = m.most_exits;
  r.tick_ns = m.tick_ns;
  r.replaced = m.replaced;
  r.separation_sigmas = m.separation_sigmas;
  r.reliable = m.reliable;
}

void assign(ExitEstimate& r) {
  const std::size_t k = r.num_exits;
  r.counts.assign(k, 0);
  std::vector<std::vector<double>> members(k);
  for (const double t : r.statistic_ns) {
    const std::size_t e = exit_of_time(t, r.thresholds_ns);
    r.exits.push_back(e);
    ++r.counts[e - 1];
    members[e - 1].push_back(t);
    double sure = 1;
    if (!r.probabilities.empty()) {
      sure = r.probabilities[(r.exits.size() - 1) * k + e - 1];
    } else if (r.sigma_ns > 0) {
      const double above = e < k ? normal_cdf((r.thresholds_ns[e - 1] - t) / r.sigma_ns) : 1;
      const double below = e > 1 ? normal_cdf((r.thresholds_ns[e - 2] - t) / r.sigma_ns) : 0;
      sure = above - below;
    }
    r.confidence.push_back(sure);
  }
  for (auto& m : members) {
    std::sort(m.begin(), m.end());
    r.centres_ns.push_back(m.empty() ? std::numeric_limits<double>::quiet_NaN() : sorted_quantile(m, 0.5));
  }
}

// Least-squares slope of (time - centre of its exit) over the index, times n, in sigma; 0 if not significant.
double drift(const ExitEstimate& r) {
  const double n = static_cast<double>(r.exits.size());
  if (n < 20 || r.sigma_ns <= 0) {
    return 0;
  }
  double sxy = 0, syy = 0;
  for (std::size_t i = 0; i < r.exits.size(); ++i) {
    double y = (r.statistic_ns[i] - r.centres_ns[r.exits[i] - 1]) / r.sigma_ns;
    y = std::clamp(y, -6.0, 6.0);  // outliers are not drift
    const double x = static_cast<double>(i) - (n - 1) / 2;
    sxy += x * y;
    syy += y * y;
  }
  const double sxx = n * (n * n - 1) / 12, slope = sxy / sxx;
  const double residual = std::max(syy - slope * sxy, 0.0) / (n - 2);
  return slope * slope * sxx > 25 * residual ? slope * n : 0;
}

std::string plural(std::size_t count, const char* word) {
  return std::to_string(count) + " " + word + (count == 1 ? "" : "s");
}

void diagnose(ExitEstimate& r, std::size_t repetitions, const EstimationOptions& o) {
  double gap = std::numeric_limits<double>::infinity();
  for (std::size_t e = 1; e < r.num_exits; ++e) {
    gap = std::min(gap, r.centres_ns[e] - r.centres_ns[e - 1]);
  }
  const bool mixture = o.method == EstimationMethod::kMixture;
  const bool promised = r.reliable;  // by the mixture
  if (!mixture)
    r.separation_sigmas = r.sigma_ns > 0 ? gap / r.sigma_ns : std::numeric_limits<double>::infinity();
  char separation[32];
  std::snprintf(separation, sizeof separation, "%.1f", r.separation_sigmas);
  const double needed = kNeededSigmas / r.separation_sigmas;
  r.repetitions_needed = std::max<std::size_t>(
      1, static_cast<std::size_t>(std::ceil(needed * needed * static_cast<double>(repetitions))));
  if (o.known_exits && r.num_exits < *o.known_exits) {
    r.reliable = false;
    r.advice = "only " + plural(r.num_exits, "exit") + " of " + std::to_string(*o.known_exits) +
               " could be told apart: measure more repetitions";
  } else if (r.exits.size() == 1) {
    r.reliable = false;
    r.advice = "one sample shows one exit: measure more samples";
  } else if (r.num_exits == 1 && r.sigma_ns == 0) {
    r.reliable = false;
    r.advice = "all times are equal: either there is only one exit or the timer is too coarse to tell";
  } else if (r.num_exits == 1) {
    r.reliable = false;
    r.advice = "one exit found: either there is only one or its neighbours are closer than the noise of " +
               to_text(r.sigma_ns) + " ns; measure more repetitions to tell";
  } else if (mixture) {
    r.reliable = promised && r.exits.size() > 1;
    r.advice = std::string("adjacent exits are ") + separation + " sigma apart or more";
    if (!r.reliable && r.least_exits < r.most_exits)
      r.advice += ": between " + std::to_string(r.least_exits) + " and " + plural(r.most_exits, "exit");
    r.advice += r.reliable ? "; an exit that fewer than one sample in a hundred takes would not show"
                           : "; the number is no promise: measure each sample more often";
  } else if (!std::isfinite(r.separation_sigmas)) {
    r.advice = "no noise seen: the exits are separated exactly";
  } else {
    r.reliable = r.separation_sigmas >= kNeededSigmas;
    r.advice =
        std::string("adjacent exits are ") + separation + " sigma apart: " +
        (r.reliable ? plural(repetitions, "repetition") + (repetitions == 1 ? " is" : " are") + " enough"
                    : plural(r.repetitions_needed, "repetition") + " needed");
  }
  if (r.replaced > 0)
    r.advice +=
        "; " + plural(r.replaced, "time") + " off the clock's grid left out: put in an outlier's place";
  if (r.sigma_source == SigmaSource::kWithinClusters && !mixture) {
    r.advice += "; the noise is a guess from the spread: measure each sample at least twice";
  }
  if (r.evened) {
    char range[96];
    std::snprintf(range,
                  sizeof range,
                  "; the machine's speed was divided out (queries took %.2f to %.2f times as long)",
                  r.shortest,
                  r.longest);
    r.advice += range;
  }
  if (std::abs(r.drift_sigmas) > kDriftLimit) {
    r.reliable = false;
    char size[32];
    std::snprintf(size, sizeof size, "%.1f", r.drift_sigmas);
    r.advice += std::string("; the times drift by ") + size + " sigma over the run: measure in random order";
  }
}

// Which statistic of which times repeats best; sigma is its noise. Without repetitions: the minimum, 0. Returns the least of each
// sample's times, [n].
std::vector<double> choose_statistic(std::span<const double> times_ns,
                                     std::size_t repetitions,
                                     const EstimationOptions& o,
                                     ExitEstimate& r) {
  using enum TimeStatistic;
  const bool free = o.statistic == kLeastNoisy;
  r.statistic = free ? least_noisy_statistic(times_ns, repetitions) : o.statistic;
  if (repetitions >= 2) r.sigma_ns = measured_noise(times_ns, repetitions, r.statistic);
  double least = repetitions >= 2 ? likely_noise(times_ns, repetitions, r.statistic) : 0;
  std::span<const double> times = times_ns;
  EvenedTimes evened;
  if (!o.order.empty() && repetitions >= kLeastForSpeed) {
    evened = even_out_speed(times_ns, repetitions, o.order);
    for (const TimeStatistic s : {kMinimum, kQuantile20, kMedian, kMean}) {
      if (s != o.statistic && !(free && (s == kQuantile20 || s == kMedian))) continue;
      const double noise = likely_noise(evened.times_ns, repetitions, s);
      if (noise >= least) continue;
      least = noise;
      r.sigma_ns = measured_noise(evened.times_ns, repetitions, s);
      r.statistic = s;
      r.evened = true;
    }
  }
  if (r.evened) {
    r.shortest = evened.shortest;
    r.longest = evened.longest;
    times = evened.times_ns;
  }
  r.statistic_ns = time_statistic(times, repetitions, r.statistic);
  return time_statistic(times, repetitions, kMinimum);
}

// Samples that took far longer than their exit in every repetition are no queries that lost the processor, which the mixture takes
// them for: perhaps a rare exit whose times scatter more than the others'.
void doubt_where_some_are_always_slow(ExitEstimate& r,
                                      std::span<const double> least_ns,
                                      std::size_t repetitions) {
  constexpr std::size_t kNoAccident = 4;  // repetitions
  constexpr double kFar = 8, kLeastShare = 0.002;
  if (!r.reliable || repetitions < kNoAccident) return;
  std::size_t slow = 0;
  for (std::size_t i = 0; i < least_ns.size(); ++i) {
    const std::size_t e = r.exits[i] - 1;
    slow += least_ns[i] - r.centres_ns[e] > kFar * std::max(r.spreads_ns[e], r.sigma_ns) ? 1 : 0;
  }
  if (slow < kSamplesOfAnExit ||
      static_cast<double>(slow) < kLeastShare * static_cast<double>(least_ns.size()))
    return;
  r.reliable = false;
  r.most_exits = std::max(r.most_exits, r.num_exits + 1);
  r.advice = plural(slow, "sample") +
             " took far longer than the exit found for them in every repetition, and may be one of their "
             "own (--exits " +
             std::to_string(r.num_exits + 1) + "): the number is no promise; " + r.advice;
}

}  // namespace

std::size_t exit_of_time(double time_ns, std::span<const double> thresholds_ns) {
  return 1 + static_cast<std::size_t>(std::lower_bound(thresholds_ns.begin(), thresholds_ns.end(), time_ns) -
                                      thresholds_ns.begin());
}

namespace {

// So many exits were asked for, and in the statistic that repeats best two of them touch: it tears one apart, as fast spells of the
// machine do, and takes two for one. Another statistic may part them clearly.
ExitEstimate with_statistic_that_parts(ExitEstimate r,
                                       std::span<const double> times_ns,
                                       std::size_t repetitions,
                                       const EstimationOptions& options) {
  constexpr double kTouch = 3;
  if (options.statistic != TimeStatistic::kLeastNoisy || r.separation_sigmas >= kTouch) return r;
  const TimeStatistic tried = r.statistic;
  for (const TimeStatistic s :
       {TimeStatistic::kMedian, TimeStatistic::kQuantile20, TimeStatistic::kMinimum}) {
    if (s == tried) continue;
    EstimationOptions other = options;
    other.statistic = s;
    ExitEstimate e = estimate_exits(times_ns, repetitions, other);
    if (e.num_exits == *options.known_exits && e.separation_sigmas > std::max(kTouch, r.separation_sigmas))
      r = std::move(e);
  }
  return r;
}

}  // namespace

ExitEstimate estimate_exits(std::span<const double> times_ns,
                            std::size_t repetitions,
                            const EstimationOptions& options) {
  check(times_ns, repetitions, options);
  ExitEstimate r;
  r.method = options.method;
  const std::vector<double> least_ns = choose_statistic(times_ns, repetitions, options, r);
  std::vector<double> sorted = r.statistic_ns;
  std::sort(sorted.begin(), sorted.end());
  const bool all_equal = sorted.front() == sorted.back();
  if (options.method == EstimationMethod::kMixture) {
    if (repetitions >= 2) r.sigma_source = SigmaSource::kRepetitions;
    if (options.sigma_ns) r.sigma_ns = *options.sigma_ns, r.sigma_source = SigmaSource::kGiven;
    estimate_by_mixture(r, times_ns, r.sigma_ns, options);
    if (r.num_exits < options.known_exits.value_or(1)) {
      // The valleys of a density may still part them.
      EstimationOptions by_density = options;
      by_density.method = EstimationMethod::kDensity;
      ExitEstimate parted = estimate_exits(times_ns, repetitions, by_density);
      if (parted.num_exits == *options.known_exits) {
        parted.reliable = false;
        parted.advice = (parted.exits.size() < kSamplesOfAnExit * *options.known_exits
                             ? "too few samples for the mixture"
                             : "the mixture tells " + plural(r.num_exits, "exit") + " apart") +
                        ", parted by their density: " + parted.advice;
        return parted;
      }
    }
    if (r.sigma_ns <= 0 && !all_equal) {
      r.sigma_ns = *std::max_element(r.spreads_ns.begin(), r.spreads_ns.end());
      r.sigma_source = SigmaSource::kWithinClusters;
    }
    assign(r);
    r.drift_sigmas = drift(r);
    diagnose(r, repetitions, options);
    if (!options.known_exits) doubt_where_some_are_always_slow(r, least_ns, repetitions);
    return options.known_exits && repetitions >= 2
               ? with_statistic_that_parts(std::move(r), times_ns, repetitions, options)
               : r;
  }
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
  assign(r);
  r.drift_sigmas = drift(r);
  diagnose(r, repetitions, options);
  return r;
}

}  // namespace offramp::stats
