// The separable objective, exit by exit: sort, one sweep, O(n log n) each. Private to the threshold search.
#pragma once

#include <vector>

#include "stats/search/threshold_search.h"

namespace offramp::stats::search {

struct SeparableOptimum {
  std::vector<double> thresholds;
  double value = 0;
};

// Among the thresholds of equal separable value the ones of largest joint value, exit by exit (two rounds).
SeparableOptimum separable_optimum(const SearchSamples& samples, SeparableOthers others);

}  // namespace offramp::stats::search
