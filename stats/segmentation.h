// Optimal least-squares segmentations: minimise the within-segment sum of squares.
// On ascending data the segment cost satisfies the quadrangle inequality (it is one-dimensional k-means), so
// the optimum is exact in O(n log n) with a monotone queue; for data in any order PELT prunes exactly. All:
// ValueError on empty or non-finite data. Ties go to earlier starts.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace offramp::stats {

struct Segmentation {
  std::vector<std::size_t> starts;  // first index of each segment, starts[0] = 0
  double squares = 0;               // within-segment sum of squares
};

// Minimises squares + penalty * segments for ascending data; ValueError if not ascending or penalty < 0.
Segmentation segment_sorted(std::span<const double> sorted, double penalty);

// Minimises squares over exactly `segments` segments of ascending data, divide and conquer, O(k n log n).
// ValueError unless 1 <= segments <= n.
Segmentation segment_sorted_into(std::span<const double> sorted, std::size_t segments);

// Minimises squares + penalty * segments for data in any order (Killick, Fearnhead, Eckley 2012).
Segmentation segment_pelt(std::span<const double> data, double penalty);

}  // namespace offramp::stats
