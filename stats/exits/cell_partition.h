// The best cuts of counted times into K runs of neighbouring cells, for every K at once: the exact optimum of the
// classification likelihood of normal exits (Fisher 1958 for the recursion), from which mixtures are fitted.
#pragma once

#include <cstddef>
#include <vector>

#include "stats/exits/time_cells.h"

namespace offramp::stats {

enum class SpreadModel { kEqual, kFree };

struct CellPartition {
  double log_likelihood = 0;        // kFree: sum n_k ln(n_k / n) - n_k ln(sd_k); kEqual: minus the sum of squares
  std::vector<std::size_t> starts;  // [K] first cell of each exit; starts[0] = 0
};

// [1..most] ; as many as there are cells. sd_k is at least least_sd (units of the cells), and a run holds at least
// least_count times. O(most cells^2). Where no cut into K runs is allowed, the list ends before K.
std::vector<CellPartition> best_partitions(
    const TimeCells& cells, std::size_t most, SpreadModel spread, double least_sd, double least_count);

// [cells] from 0.
std::vector<std::size_t> exit_of_cell(const CellPartition& partition, std::size_t cells);

}  // namespace offramp::stats
