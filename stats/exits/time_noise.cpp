// The statistic of repeated times and its noise (exit_estimation.h).
#include <algorithm>
#include <cmath>
#include <numbers>

#include "stats/bandwidth.h"
#include "stats/checks.h"
#include "stats/exits/exit_estimation.h"

namespace offramp::stats {
namespace {

double statistic_of(std::vector<double>& values, TimeStatistic statistic) {
  if (statistic == TimeStatistic::kMean) {
    return sample_mean(values);
  }
  if (statistic == TimeStatistic::kMinimum) {
    return *std::min_element(values.begin(), values.end());
  }
  std::sort(values.begin(), values.end());
  return sorted_quantile(values, statistic == TimeStatistic::kMedian ? 0.5 : 0.2);
}

// Standard deviation around 0 after dropping what lies beyond six robust deviations (one slow outlier in a
// hundred would otherwise double it), at most a share `most_dropped` of the values. With more than half of
// the values 0 nothing is dropped.
double trimmed_rms(std::vector<double> values, double most_dropped) {
  for (double& v : values) v = std::abs(v);
  std::sort(values.begin(), values.end());
  const double robust = values[values.size() / 2] / 0.6744897501960817;  // median of |N(0,1)|
  const auto least =
      values.size() - static_cast<std::size_t>(most_dropped * static_cast<double>(values.size()));
  double sum = 0, count = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i >= least && robust > 0 && values[i] > 6 * robust) break;
    sum += values[i] * values[i];
    count += 1;
  }
  return std::sqrt(sum / count);
}

// Noise of the statistic over every `share`-th of the repetitions: two such parts differ by twice its variance.
double noise_of_share(std::span<const double> times_ns,
                      std::size_t repetitions,
                      std::size_t share,
                      TimeStatistic statistic,
                      double most_dropped) {
  std::vector<double> difference(times_ns.size() / repetitions), one, other;
  for (std::size_t i = 0; i < difference.size(); ++i) {
    const auto row = times_ns.subspan(i * repetitions, repetitions);
    one.clear();
    other.clear();
    for (std::size_t r = 0; r + share <= repetitions; r += share) {
      one.push_back(row[r]);
      other.push_back(row[r + 1]);
    }
    difference[i] = statistic_of(one, statistic) - statistic_of(other, statistic);
  }
  return trimmed_rms(std::move(difference), most_dropped) / std::numbers::sqrt2;
}

constexpr std::size_t kLeastForQuarters = 16;
constexpr double kMostDropped = 0.01;

}  // namespace

const char* name_of(TimeStatistic statistic) {
  switch (statistic) {
    case TimeStatistic::kLeastNoisy:
      return "auto";
    case TimeStatistic::kMinimum:
      return "min";
    case TimeStatistic::kQuantile20:
      return "q20";
    case TimeStatistic::kMedian:
      return "median";
    case TimeStatistic::kMean:
      return "mean";
  }
  return "";
}

std::vector<double> time_statistic(std::span<const double> times_ns,
                                   std::size_t repetitions,
                                   TimeStatistic statistic) {
  if (repetitions == 0 || times_ns.size() % repetitions != 0) {
    throw DataError("time_statistic: " + std::to_string(times_ns.size()) + " times are no multiple of " +
                    std::to_string(repetitions) + " repetitions");
  }
  if (statistic == TimeStatistic::kLeastNoisy) statistic = least_noisy_statistic(times_ns, repetitions);
  std::vector<double> result(times_ns.size() / repetitions), values;
  for (std::size_t i = 0; i < result.size(); ++i) {
    const auto row = times_ns.subspan(i * repetitions, repetitions);
    values.assign(row.begin(), row.end());
    result[i] = statistic_of(values, statistic);
  }
  return result;
}

double measured_noise(std::span<const double> times_ns,
                      std::size_t repetitions,
                      TimeStatistic statistic,
                      double most_dropped) {
  // Averages and inner quantiles halve their variance again over all repetitions; a minimum gains less, so the half's
  // own noise is kept as an upper bound.
  if (repetitions < 2 || times_ns.empty() || times_ns.size() % repetitions != 0) {
    throw DataError("measured_noise: needs at least 2 repetitions of every sample, got " +
                    std::to_string(times_ns.size()) + " times of " + std::to_string(repetitions) +
                    " repetitions");
  }
  if (statistic == TimeStatistic::kLeastNoisy) statistic = least_noisy_statistic(times_ns, repetitions);
  const double half = noise_of_share(times_ns, repetitions, 2, statistic, most_dropped);
  return statistic == TimeStatistic::kMinimum ? half : half / std::numbers::sqrt2;
}

double likely_noise(std::span<const double> times_ns, std::size_t repetitions, TimeStatistic statistic) {
  const double noise = measured_noise(times_ns, repetitions, statistic);
  if (statistic != TimeStatistic::kMinimum || repetitions < kLeastForQuarters || noise <= 0) return noise;
  const double quarter = noise_of_share(times_ns, repetitions, 4, statistic, kMostDropped);
  return quarter > 0 ? noise * std::clamp(noise / quarter, 0.5, 1.0) : noise;
}

TimeStatistic least_noisy_statistic(std::span<const double> times_ns, std::size_t repetitions) {
  if (repetitions < 2) return TimeStatistic::kMinimum;
  const auto noise = [&](TimeStatistic s) { return likely_noise(times_ns, repetitions, s); };
  return noise(TimeStatistic::kMinimum) < noise(TimeStatistic::kQuantile20) ? TimeStatistic::kMinimum
                                                                            : TimeStatistic::kQuantile20;
}

}  // namespace offramp::stats
