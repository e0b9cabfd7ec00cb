#pragma once
// The joint threshold search on the device (specs/extraction.md 4.3). Sample i of exit e (from 0) counts iff
// t_k >= p_ki for all k < e and, unless e is the last exit, t_e < p_ei, with candidate indices t_k in
// 0..candidates[k]-1 and positions p in 0..candidates[k]. Integer weights, so that sums are exact and the
// same in any order. Device only; the CPU's form is stats/search/threshold_search.h, the driver is
// engine/device_algorithms.h.
#include "kernels/backend.h"

namespace offramp::cuda {

inline constexpr int kMaxSearchDimensions = 8;

struct SearchTable {   // device memory; total weight < 2^31
  int dimensions = 0;  // exits - 1, at most kMaxSearchDimensions
  std::int64_t n = 0;
  const std::uint32_t* position = nullptr;  // [dimensions][n]; not read beyond a sample's exit
  const std::int32_t* exit = nullptr;       // [n] 0..dimensions
  const std::int32_t* weight = nullptr;     // [n] >= 0
};

// ---- the coarse pass: J at every point of a grid of levels, by a histogram of +-weights and prefix sums
struct SearchGrid {
  int levels[kMaxSearchDimensions] = {};  // per dimension, >= 1
  std::int64_t cells = 1;                 // their product
  // Per dimension and position: first level whose candidate satisfies t >= p, or `levels` for none. Device
  // memory, one table per dimension after the other; offset[k] is where dimension k's begins.
  std::int64_t offset[kMaxSearchDimensions] = {};
  const std::uint16_t* stay = nullptr;   // for conditions t >= p
  const std::uint16_t* leave = nullptr;  // t < p holds below this level
};
// count[cells], row-major, last dimension innermost. With stay == leave (levels as points) it is J there;
// with `stay` rounded down (levels as boxes that reach up to the next one) it is an upper bound of J in each
// box.
void integral_histogram(Context&, const SearchTable&, const SearchGrid&, std::int32_t* count);
// The passes over these counts: search_cells.h.

// ---- branch and bound: one block a box
struct SearchBox {
  std::uint32_t low[kMaxSearchDimensions], high[kMaxSearchDimensions];  // inclusive candidate ranges
};
struct SearchBoxResult {
  long long bound;                            // no point of the box counts more
  long long value;                            // of `point`
  std::uint32_t point[kMaxSearchDimensions];  // the best one met
  std::int32_t split;                         // the dimension most undecided weight depends on; -1: one point
};
// A sample undecided in m >= 2 dimensions counts at most sum_j w_j x_j for convex w; the bound is then a sum
// of one-dimensional maxima. w starts uniform and averages, pass by pass, over the conditions that the last
// maximum violated (fictitious play). Ranges of more than 128 candidates are cut into 128 bins, rounded so
// that the bound holds. Stops early at bound <= enough.
void bound_boxes(Context&,
                 const SearchTable&,
                 int boxes,
                 const SearchBox* box,  // [boxes]
                 long long enough,
                 SearchBoxResult* result);  // [boxes]

// ---- validation: J at one point by bit sets and population counts, sharing nothing with the above
void count_by_bitsets(Context&, const SearchTable&, const SearchBox& point, unsigned long long* value);

}  // namespace offramp::cuda
