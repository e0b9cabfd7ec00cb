// Running times counted in the cells that the clock or the recorder left of them. A time on a clock of 10 us says
// only that the true one lay within half a tick of it; all that an estimate may use is the count of each cell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace offramp::stats {

// Of raw times: the widest step on whose multiples at least seven times in ten lie; 0 where there is none. It is
// where values cluster, not the smallest difference: seconds times 1e9 differ in their last bits.
double clock_tick(std::span<const double> times_ns);

// A statistic of repetitions may lie between two readings of the clock. Where at most three in ten do, all are put to the nearest
// one; where more do, they say more than a reading does, and count_cells takes no clock.
void put_on_grid(std::vector<double>& times_ns, double tick_ns);

struct TimeCells {
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  double tick_ns = 0;                  // of the clock; 0: none seen
  double unit_ns = 1;                  // of low and high: the tick, else the width of a cell
  double origin_ns = 0;                // where low and high count from
  std::vector<double> low, high;       // [cells] ascending; what lies between two cells need not be in one
  std::vector<double> count;           // [cells] times in it
  std::vector<std::uint32_t> cell_of;  // [n]; kNone: not a measurement, see `replaced`
  std::size_t replaced = 0;  // times off the clock's grid: what a recorder put in an outlier's place
  double total() const;      // of the counts
};

// times: one of each sample. tick_ns: of the clock, or 0. Neighbouring values share a cell where there would be more
// than most_cells. Times off the grid are left out only where at least seven in ten lie on it.
TimeCells count_cells(std::span<const double> times_ns, double tick_ns, std::size_t most_cells = 400);

}  // namespace offramp::stats
