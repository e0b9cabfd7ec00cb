#include "stats/exits/exit_estimation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "stats/bandwidth.h"
#include "stats/checks.h"
#include "stats/exits/exit_mixture.h"
#include "stats/exits/exit_valleys.h"
#include "stats/exits/time_cells.h"

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

// Which samples took far longer than their exit in every repetition: no queries that lost the processor, which the mixture takes them
// for. Perhaps a rare exit whose times scatter more than the others'. Empty where they are too few to be one.
std::vector<std::size_t> slow_every_time(const ExitEstimate& r,
                                         std::span<const double> least_ns,
                                         std::size_t repetitions) {
  constexpr std::size_t kNoAccident = 4;  // repetitions
  constexpr double kFar = 8, kLeastShare = 0.002;
  std::vector<std::size_t> slow;
  if (!r.reliable || repetitions < kNoAccident) return slow;
  for (std::size_t i = 0; i < least_ns.size(); ++i) {
    const std::size_t e = r.exits[i] - 1;
    if (least_ns[i] - r.centres_ns[e] > kFar * std::max(r.spreads_ns[e], r.sigma_ns)) slow.push_back(i);
  }
  if (slow.size() < kSamplesOfAnExit ||
      static_cast<double>(slow.size()) < kLeastShare * static_cast<double>(least_ns.size()))
    slow.clear();
  return slow;
}

// Whether one exit of the estimate holds these samples and, but for one in ten, no others.
bool share_an_exit(const ExitEstimate& r, const std::vector<std::size_t>& samples) {
  constexpr double kMost = 0.9;
  std::vector<double> at(r.num_exits, 0);
  for (const std::size_t i : samples) ++at[r.exits[i] - 1];
  const auto most = std::max_element(at.begin(), at.end());
  const double of_exit = static_cast<double>(r.counts[static_cast<std::size_t>(most - at.begin())]);
  return *most >= kMost * static_cast<double>(samples.size()) && *most >= kMost * of_exit;
}

// Of an estimate that takes some samples for late ones, which were slow every time: the one with an exit more, where that is theirs. Either
// way the number is no promise.
ExitEstimate with_an_exit_for(const std::vector<std::size_t>& slow,
                              ExitEstimate r,
                              std::span<const double> times_ns,
                              std::size_t repetitions,
                              const EstimationOptions& options) {
  const std::size_t least = r.least_exits;
  EstimationOptions told = options;
  told.known_exits = r.num_exits + 1;
  ExitEstimate more = estimate_exits(times_ns, repetitions, told);
  const bool theirs = more.method == EstimationMethod::kMixture && more.num_exits == *told.known_exits &&
                      share_an_exit(more, slow);
  const std::string who = plural(slow.size(), "sample") +
                          " took far longer than the exit found for them in every repetition, and ";
  if (theirs) {
    r = std::move(more);
    r.least_exits = least;
    r.advice = who + "are taken for an exit of their own: the number is no promise; " + r.advice;
  } else {
    r.advice = who + "may be one of their own (--exits " + std::to_string(*told.known_exits) +
               "): the number is no promise; " + r.advice;
  }
  r.reliable = false;
  r.most_exits = std::max(r.most_exits, *told.known_exits);
  return r;
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
    if (options.known_exits)
      return repetitions >= 2 ? with_statistic_that_parts(std::move(r), times_ns, repetitions, options) : r;
    const std::vector<std::size_t> slow = slow_every_time(r, least_ns, repetitions);
    return slow.empty() ? r : with_an_exit_for(slow, std::move(r), times_ns, repetitions, options);
  }
  estimate_by_valleys(r, sorted, repetitions, options);
  assign(r);
  r.drift_sigmas = drift(r);
  diagnose(r, repetitions, options);
  return r;
}

}  // namespace offramp::stats
