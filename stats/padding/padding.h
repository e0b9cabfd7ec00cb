// Padding of an early-exit server's answers (specs/audit.md 3). Exits 1..K answer at times t_1 < .. < t_K with shares
// q_k. A padding that draws the time of an answer once per input is a channel W(s | k) with s >= t_k. Moving every s
// down to the largest t_j <= s is a function of s: it leaks no more and only saves time, so the support can be taken
// as {t_1 .. t_K} and W as upper triangular.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace offramp::stats {

struct PaddedExits {
  std::vector<double> times;   // [K] at least 0, strictly ascending, any unit; delays come in the same unit
  std::vector<double> shares;  // [K] of the queries, > 0; sum 1 within 1e-6 (normalised by `checked`)
};

// The same with shares that sum to 1. ValueError: no exit, lengths differ, times not finite, below 0 or not ascending, a
// share that is not above 0, shares that do not sum to 1.
PaddedExits checked(const PaddedExits& exits);

struct Padding {
  std::vector<double>
      channel;       // [K, K] row k: probability that exit k's answer is sent at time t_j; 0 for j < k
  double delay = 0;  // mean extra time over all queries
  double bits = 0;   // I(K; S): what one answer's time tells about the exit
  double min_entropy_bits = 0;  // log2 sum_s max_k W(s | k): worst case over shares, for one guess
  double lower_bound_bits = 0;  // certificate: no padding with at most this delay leaks less
};

// Delay and leaks of a channel; lower_bound_bits stays 0, which holds for any padding. ValueError: `channel` is not
// [K, K], a row does not sum to 1 within 1e-9, or an answer would be sent before it is there.
Padding evaluate_padding(const PaddedExits& exits, std::vector<double> channel);

// Each answer at once; and each answer at the last exit's time (the naive defence).
Padding no_padding(const PaddedExits& exits);
Padding constant_time(const PaddedExits& exits);

}  // namespace offramp::stats
