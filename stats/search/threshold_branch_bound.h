// Exact joint search for any number of exits: best-first branch and bound over boxes of candidate ranges.
// In a box, samples satisfied everywhere are a constant, samples that cannot be satisfied vanish, samples
// undecided in one dimension are slabs whose best is a one-dimensional scan. A sample undecided in m >= 2
// dimensions counts AND(x_1..x_m) <= sum_j w_j x_j for any convex w: the bound then is a sum of
// one-dimensional maxima, and w is improved by subgradient steps (weight moves from satisfied to violated
// dimensions). Children inherit w.
#pragma once

#include <chrono>
#include <cstddef>

#include "stats/parallel.h"
#include "stats/search/threshold_problem.h"

namespace offramp::stats::search {

template <class Number>
struct Certificate {
  Point best;
  Number value = 0;
  double upper_bound = 0;
  bool optimal = false;
  std::size_t nodes = 0;
};

// Starts from `incumbent`. Integers: exact. Doubles: optimal within 1e-9 of the total weight.
template <class Number>
Certificate<Number> branch_and_bound(const Problem<Number>& problem,
                                     Point incumbent,
                                     std::chrono::steady_clock::time_point deadline,
                                     WorkerPool& pool);

// Coordinate ascent until no single threshold gains.
template <class Number>
Number ascend_coordinates(const Problem<Number>& problem, Point& t);

// Coordinate ascent, then the best pair of thresholds at a time, until neither gains.
template <class Number>
Number ascend_pairs(const Problem<Number>& problem, Point& t, WorkerPool& pool);

}  // namespace offramp::stats::search
