// Exits from running times: how many there are, where the thresholds between their times lie, and which exit
// each sample took (specs/extraction.md 2). Times in nanoseconds; deeper exits take longer; exits count
// from 1.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "stats/changepoint.h"
#include "stats/exits/machine_speed.h"
#include "stats/kde.h"

namespace offramp::stats {

enum class EstimationMethod {
  kDensity,       // valleys of a KDE, section 2.2
  kMixture,       // exits that share the shape of the noise, exit_mixture.h
  kChangepoints,  // Bayesian changepoints of the sorted times, then merged, section 2.3
};

// One number per sample from its repetitions.
enum class TimeStatistic {
  // Of the next two the one that repeats best (least likely_noise). A core that is fast for a moment spoils
  // the minimum and not the quantile; one that is slow for most of the run spoils the quantile and not the
  // minimum. Where the machine's speed was divided out, quantile and median stand for choice as well.
  kLeastNoisy,
  kMinimum,  // against one-sided noise
  kQuantile20,
  kMedian,
  kMean,  // against symmetric noise, e.g. a channel
};

struct EstimationOptions {
  EstimationMethod method = EstimationMethod::kDensity;
  TimeStatistic statistic = TimeStatistic::kLeastNoisy;
  // With it and kLeastForSpeed repetitions the machine's speed is divided out where that repeats better.
  MeasurementOrder order = {};
  std::optional<double> sigma_ns = {};      // noise of the statistic; default: from the repetitions
  std::optional<double> bandwidth_ns = {};  // of the KDE; default: sigma / 2, at least the share below
  // Of the range of the times (0.5 % to 99.5 %), where they were re-measured. Samples of one exit differ by a
  // few per cent however often they are measured (2 % to 3 % on small nets of ours), which the noise does not
  // show and exits do not look like: sixteen exits across the range would still be 4.4 such bandwidths apart.
  double least_bandwidth_share = 0.015;
  std::optional<std::size_t> known_exits = {};  // keep the most prominent valleys instead of pruning by ratio
  double max_valley_ratio = 0.5;
  double min_share = 0.005;
  std::size_t max_changepoint_samples = 200000;  // the changepoint method takes O(n^2)
  unsigned threads = 0;
  // The two costly parts done elsewhere, e.g. on a device: densities on a grid, and the MAP segmentation.
  DensityFunction density = {};
  std::function<MapSegmentation(std::span<const double>, const NormalGammaPrior&, const LengthPrior&)>
      segmentation = {};
};

enum class SigmaSource { kNone, kGiven, kRepetitions, kWithinClusters, kTimerResolution };

struct ExitEstimate {
  std::size_t num_exits = 1;
  // That found them. kDensity in place of kMixture where known_exits are more than the mixture tells apart.
  EstimationMethod method = EstimationMethod::kDensity;
  std::vector<double>
      thresholds_ns;  // num_exits - 1, ascending; a time equal to one belongs to the earlier exit
  std::vector<std::size_t> exits;  // [n] 1..num_exits
  // [n] probability that the noise-free time lies within the sample's exit, for normal noise of sigma_ns; kMixture:
  // that of the sample's exit in the mixture.
  std::vector<double> confidence;
  // kMixture alone, see MixtureExits; empty or 0 else.
  std::vector<double> posterior, threshold_low_ns, threshold_high_ns, probabilities, spreads_ns;
  std::size_t least_exits = 0, most_exits = 0, replaced = 0;
  double tick_ns = 0;
  std::vector<std::size_t> counts;                    // [num_exits]
  std::vector<double> centres_ns;                     // [num_exits] median time
  std::vector<double> statistic_ns;                   // [n] the numbers that were clustered
  TimeStatistic statistic = TimeStatistic::kMinimum;  // what they are; never kLeastNoisy
  bool evened = false;                                // their times are those of even_out_speed
  double shortest = 1, longest = 1;                   // see EvenedTimes; 1 where they were not
  double sigma_ns = 0;
  SigmaSource sigma_source = SigmaSource::kNone;  // kNone: one sample, or all times are equal
  double bandwidth_ns = 0;
  // Smallest distance between neighbouring centres in sigma; infinity with one exit or no noise.
  double separation_sigmas = 0;
  std::size_t repetitions_needed = 1;  // for six sigma: 36 (sigma_1/gap)^2
  double drift_sigmas = 0;             // linear trend of the residuals from the first sample to the last
  // All exits found, at least six sigma apart, no drift; kMixture: the promise of MixtureExits, no drift.
  bool reliable = true;
  std::string advice;  // one line a user can act on
};

// times_ns: [n, repetitions] row-major, in the order measured.
// ValueError: no sample, a time that is not finite, negative or above 1e15 ns, a size that is no multiple of
// repetitions, known_exits 0 or larger than n, sigma or bandwidth not positive, too many samples for the
// changepoint method, an order that is none (even_out_speed).
ExitEstimate estimate_exits(std::span<const double> times_ns,
                            std::size_t repetitions,
                            const EstimationOptions& options = {});

// e = 1 + #{k : t > theta_k}.
std::size_t exit_of_time(double time_ns, std::span<const double> thresholds_ns);

// Noise of the statistic from re-measurement: the statistic on even and on odd repetitions, the standard
// deviation of half their difference. Differences beyond six robust deviations are left out, at most a share
// `most_dropped` of them: rare outliers are not noise, but a machine that is slow in every fourth measurement
// is. Needs repetitions >= 2.
double measured_noise(std::span<const double> times_ns,
                      std::size_t repetitions,
                      TimeStatistic statistic,
                      double most_dropped = 0.01);

// The same, but of a minimum what it gains from the second half of the repetitions is guessed from what it gains from a
// quarter to a half, at least 16 repetitions given: noise with a sharp floor halves. Ranks statistics; promises rest on
// measured_noise.
double likely_noise(std::span<const double> times_ns, std::size_t repetitions, TimeStatistic statistic);

// What kLeastNoisy stands for without an order; with one repetition, where all are the same, the minimum.
TimeStatistic least_noisy_statistic(std::span<const double> times_ns, std::size_t repetitions);

// "auto", "min", "q20", "median", "mean": as `extract estimate --statistic` takes them.
const char* name_of(TimeStatistic statistic);

// The statistic of each sample, [n].
std::vector<double> time_statistic(std::span<const double> times_ns,
                                   std::size_t repetitions,
                                   TimeStatistic statistic);

}  // namespace offramp::stats
