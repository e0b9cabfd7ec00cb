// The best cuts of counted times into K runs of neighbouring cells, for every K at once: the exact optimum of the
// classification likelihood of normal exits (Fisher 1958 for the recursion), from which mixtures are fitted.
#pragma once

#include <cstddef>
#include <vector>

#include "stats/exits/time_cells.h"

namespace offramp::stats {

enum class SpreadModel { kEqual, kFree };

inline constexpr std::size_t kNoExit = static_cast<std::size_t>(-1);

struct CellPartition {
  double log_likelihood = 0;
  std::vector<std::size_t> exit_of_cell;  // from 0, ascending; kNoExit: an outlier
};

struct PartitionOptions {
  SpreadModel spread = SpreadModel::kFree;
  double least_sd = 0.5;   // of an exit, in units of the cells
  double least_count = 2;  // of the times in an exit
  double outlier_cost =
      1e9;  // per time, less than the log density of a normal exit: what leaving it out costs
};

// [i]: into i + 1 exits, up to `most`; the list ends before a number that no cut allows. Exit k with n_k times and
// deviation sd_k about its mean adds n_k ln(n_k / n) - n_k ln(sd_k) - S_k / (2 sd_k^2), S_k: the sum of squares; kEqual:
// -S_k. O(most cells^2).
std::vector<CellPartition> best_partitions(const TimeCells& cells,
                                           std::size_t most,
                                           const PartitionOptions& options);

}  // namespace offramp::stats
