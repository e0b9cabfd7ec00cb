#pragma once
// Whole-array passes over the cells of the threshold search (threshold_search.h). A device's build takes Thrust
// (search_cells_thrust.cu), host execution the kernels of search_cells.cu; the results are equal.
#include "kernels/backend.h"

namespace offramp::cuda {

// count[lines][levels] becomes its prefix sums along the levels.
void prefix_rows(Context&, std::int64_t lines, int levels, std::int32_t* count);
// The largest count, at least 0, and the first cell that has it. cells in 1..2^32 - 1. Waits for the answer.
struct LargestCell {
  std::int32_t count = 0;
  std::uint32_t cell = 0;
};
LargestCell largest_cell(Context&, std::int64_t cells, const std::int32_t* count);
// Cells with count > floor, how many; their indices to list[capacity], in any order, unless they are more than it holds.
// Waits for the answer.
std::int64_t cells_above(Context&,
                         std::int64_t cells,
                         const std::int32_t* count,
                         std::int32_t floor,
                         std::int32_t capacity,
                         std::uint32_t* list);

}  // namespace offramp::cuda
