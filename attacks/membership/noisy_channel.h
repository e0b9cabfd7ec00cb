#pragma once
// A network between the target and the attacker's clock (specs/membership.md 6.1): every answer comes late by a random z > 0,
// and the attacker asks N times and averages. Made from times that were recorded without it.
#include <cstdint>
#include <vector>

#include "attacks/membership/exit_times.h"

namespace offramp::attacks::membership {

struct NoisyChannel {
  enum class Form {
    kTruncated,  // N(mean, sigma^2), drawn again until it is positive: the paper's
    kFolded      // its absolute value: the paper's code
  };
  Form form = Form::kTruncated;
  double mean_ns = 2e6, sigma_ns = 0;  // 2 ms: the code's; the paper names none
};

// [samples] mean of `queries` answers, each one of the sample's recorded times in turn, starting over after the last, and its
// own delay. Delays follow from the seed, the sample and the number of the query, so that more queries go on from fewer.
// Throws ValueError: no query, a mean or sigma that is negative or not finite.
std::vector<double> times_through(const Trace& trace,
                                  const NoisyChannel& channel,
                                  int queries,
                                  std::uint64_t seed);

// The least distance between the median times of two neighbouring exits, ns, of those that at least kLeastShare of the target's
// records take; 0: there are no two, or two have the same. What the queries for a channel's noise are reckoned from
// (stats::repetitions_to_distinguish, repetitions_to_cluster).
double least_exit_gap(const Trace& trace, const Records& target);

}  // namespace offramp::attacks::membership
