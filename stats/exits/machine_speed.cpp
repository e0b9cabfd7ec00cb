#include "stats/exits/machine_speed.h"

#include <algorithm>
#include <string>

#include "stats/bandwidth.h"
#include "stats/checks.h"

namespace offramp::stats {
namespace {

double median_of(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  return sorted_quantile(values, 0.5);
}

}  // namespace

EvenedTimes even_out_speed(std::span<const double> times_ns,
                           std::size_t repetitions,
                           MeasurementOrder order) {
  constexpr int kRounds = 5;
  if (repetitions < kLeastForSpeed || times_ns.size() % repetitions != 0 || times_ns.empty())
    throw DataError("even_out_speed: needs at least " + std::to_string(kLeastForSpeed) +
                    " repetitions of every sample, got " + std::to_string(times_ns.size()) + " times of " +
                    std::to_string(repetitions) + " repetitions");
  if (order.size() != times_ns.size())
    throw DataError("even_out_speed: " + std::to_string(times_ns.size()) + " times have an order of " +
                    std::to_string(order.size()));
  const std::size_t total = times_ns.size(), n = total / repetitions;
  std::vector<std::size_t> measured(total, total);  // by time: which of times_ns
  for (std::size_t at = 0; at < total; ++at) {
    const auto position = static_cast<std::size_t>(order[at]);
    if (order[at] < 0 || position >= n || measured[at % repetitions * n + position] != total)
      throw DataError("even_out_speed: the order of pass " + std::to_string(at % repetitions + 1) +
                      " is no permutation of 0.." + std::to_string(n - 1) + ", see sample " +
                      std::to_string(at / repetitions));
    measured[at % repetitions * n + position] = at;
  }

  const std::size_t windows = std::max<std::size_t>(1, total / kSpeedWindow);
  std::vector<double> slowness(windows, 1), level(n), values;
  std::vector<std::size_t> window_of(total);
  for (std::size_t w = 0; w < windows; ++w) {
    for (std::size_t i = w * total / windows; i < (w + 1) * total / windows; ++i) window_of[measured[i]] = w;
  }
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t sample = 0; sample < n; ++sample) {
      values.clear();
      for (std::size_t at = sample * repetitions; at < (sample + 1) * repetitions; ++at)
        values.push_back(times_ns[at] / slowness[window_of[at]]);
      level[sample] = median_of(values);
    }
    for (std::size_t w = 0; w < windows; ++w) {
      values.clear();
      for (std::size_t i = w * total / windows; i < (w + 1) * total / windows; ++i) {
        const double own = level[measured[i] / repetitions];
        if (own > 0) values.push_back(times_ns[measured[i]] / own);  // a coarse timer may say 0
      }
      const double middle = values.empty() ? 1 : median_of(values);
      slowness[w] = middle > 0 ? middle : 1;
    }
  }
  values = slowness;
  const double middle = median_of(values);
  EvenedTimes result;
  result.shortest = sorted_quantile(values, 0.05) / middle;
  result.longest = sorted_quantile(values, 0.95) / middle;
  result.times_ns.resize(total);
  for (std::size_t at = 0; at < total; ++at)
    result.times_ns[at] = times_ns[at] * middle / slowness[window_of[at]];
  return result;
}

}  // namespace offramp::stats
