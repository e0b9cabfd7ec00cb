// Exits from one time a query, or one statistic of its repetitions: the mixture that exit_posterior.h finds, turned into
// thresholds, probabilities of each query's exits, and a promise of how far the number can be trusted.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "stats/exits/exit_posterior.h"

namespace offramp::stats {

struct MixtureExits {
  std::size_t num_exits = 1;
  std::vector<double> posterior;  // [i]: probability that there are i + 1 exits
  // Those that hold nine tenths of the posterior.
  std::size_t least_exits = 1, most_exits = 1;
  // [num_exits - 1], ascending: where most of the expected exits come out right; and the central 95 % of that place
  // over 60 Bayesian bootstraps (Rubin 1981).
  std::vector<double> thresholds_ns, threshold_low_ns, threshold_high_ns;
  std::vector<double> probabilities;  // [n, num_exits]
  std::vector<double> spreads_ns;     // [num_exits] deviation of a time
  double separation_sigmas =
      0;               // least gap of neighbouring means in the larger of their spreads; infinity for one
  double tick_ns = 0;  // of the clock; 0: none seen
  std::size_t replaced = 0;  // times left out of the fit, see TimeCells
  bool reliable = false;     // the number is a promise: how far it is kept stands in docs/results/exits.md
};

// times_ns: [n], of the statistic; tick_ns: of the raw clock; least_spread_ns: what an exit's times differ by at least,
// or 0. known: find this many, or as many as can be told apart.
MixtureExits mixture_exits(std::span<const double> times_ns,
                           double tick_ns,
                           double least_spread_ns = 0,
                           std::optional<std::size_t> known = {},
                           unsigned threads = 1);

}  // namespace offramp::stats
