#include "stats/exits/cell_partition.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace offramp::stats {

std::vector<CellPartition> best_partitions(const TimeCells& cells,
                                           std::size_t most,
                                           const PartitionOptions& o) {
  const std::size_t u = cells.count.size();
  std::vector<double> n(u + 1, 0), s(u + 1, 0), ss(u + 1, 0);
  for (std::size_t c = 0; c < u; ++c) {
    const double x = 0.5 * (cells.low[c] + cells.high[c]);
    n[c + 1] = n[c] + cells.count[c];
    s[c + 1] = s[c] + cells.count[c] * x;
    ss[c + 1] = ss[c] + cells.count[c] * x * x;
  }
  constexpr double kNever = -std::numeric_limits<double>::infinity();
  const bool equal = o.spread == SpreadModel::kEqual;
  const auto gain = [&](std::size_t i, std::size_t j) {  // of one exit that owns cells i..j-1
    const double count = n[j] - n[i];
    if (count < o.least_count) return kNever;
    const double sum = s[j] - s[i];
    const double squares = std::max(ss[j] - ss[i] - sum * sum / count, 0.0);
    if (equal) return -squares;
    const double variance = std::max(squares / count, o.least_sd * o.least_sd);
    return count * (std::log(count / n[u]) - 0.5 * std::log(variance)) - 0.5 * squares / variance;
  };
  // best[e]: of the cells before e; from[k][e]: where the last exit starts that ends there, or kLeftOut.
  constexpr std::size_t kLeftOut = kNoExit;
  std::vector<double> best(u + 1, kNever), next(u + 1);
  std::vector<std::vector<std::size_t>> from;
  std::vector<CellPartition> out;
  best[0] = 0;
  for (std::size_t e = 1; e <= u && !equal; ++e) best[e] = best[e - 1] - o.outlier_cost * cells.count[e - 1];
  if (equal) std::fill(best.begin() + 1, best.end(), kNever);
  for (std::size_t k = 1; k <= most && k <= u; ++k) {
    from.emplace_back(u + 1, kLeftOut);
    std::fill(next.begin(), next.end(), kNever);
    for (std::size_t e = k; e <= u; ++e) {
      if (!equal && next[e - 1] > kNever) next[e] = next[e - 1] - o.outlier_cost * cells.count[e - 1];
      for (std::size_t b = k - 1; b < e; ++b) {
        if (best[b] == kNever) continue;
        const double value = best[b] + gain(b, e);
        if (value > next[e]) next[e] = value, from.back()[e] = b;
      }
    }
    best.swap(next);
    if (best[u] == kNever) break;
    CellPartition p{best[u], std::vector<std::size_t>(u, kNoExit)};
    std::size_t end = u;
    for (std::size_t row = k; row-- > 0;) {
      while (from[row][end] == kLeftOut) --end;
      const std::size_t begin = from[row][end];
      for (std::size_t c = begin; c < end; ++c) p.exit_of_cell[c] = row;
      end = begin;
    }
    out.push_back(std::move(p));
  }
  return out;
}

}  // namespace offramp::stats
