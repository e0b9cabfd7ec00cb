#include "stats/exits/machine_speed.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "stats/bandwidth.h"
#include "stats/checks.h"

namespace offramp::stats {
namespace {

double median_of(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  return sorted_quantile(values, 0.5);
}

// The median of the sorted values without the one at `left_out`.
double median_of_others(std::span<const double> sorted, std::size_t left_out) {
  const std::size_t others = sorted.size() - 1, half = others / 2;
  const auto at = [&](std::size_t i) { return sorted[i < left_out ? i : i + 1]; };
  return others % 2 ? at(half) : 0.5 * (at(half - 1) + at(half));
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
  std::vector<double> slowness(total, 1), of_window(windows, 1), level(n), values;
  std::vector<std::pair<double, std::size_t>> ratios;  // of a window, and of which of times_ns
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t sample = 0; sample < n; ++sample) {
      values.clear();
      for (std::size_t at = sample * repetitions; at < (sample + 1) * repetitions; ++at)
        values.push_back(times_ns[at] / slowness[at]);
      level[sample] = median_of(values);
    }
    for (std::size_t w = 0; w < windows; ++w) {
      ratios.clear();
      for (std::size_t i = w * total / windows; i < (w + 1) * total / windows; ++i) {
        const double own = level[measured[i] / repetitions];
        if (own > 0)
          ratios.emplace_back(times_ns[measured[i]] / own, measured[i]);  // a coarse timer may say 0
      }
      std::sort(ratios.begin(), ratios.end());
      values.clear();
      for (const auto& [ratio, at] : ratios) values.push_back(ratio);
      const double all = values.empty() ? 1 : sorted_quantile(values, 0.5);
      of_window[w] = all > 0 ? all : 1;
      for (std::size_t i = 0; i < ratios.size() && ratios.size() > 1; ++i) {
        const double others = median_of_others(values, i);
        slowness[ratios[i].second] = others > 0 ? others : 1;
      }
    }
  }
  const double middle = median_of(of_window);  // sorts them
  EvenedTimes result;
  result.shortest = sorted_quantile(of_window, 0.05) / middle;
  result.longest = sorted_quantile(of_window, 0.95) / middle;
  result.times_ns.resize(total);
  for (std::size_t at = 0; at < total; ++at) result.times_ns[at] = times_ns[at] * middle / slowness[at];
  return result;
}

}  // namespace offramp::stats
