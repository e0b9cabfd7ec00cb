#include "stats/exits/cell_partition.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace offramp::stats {

std::vector<CellPartition> best_partitions(
    const TimeCells& cells, std::size_t most, SpreadModel spread, double least_sd, double least_count) {
  const std::size_t u = cells.count.size();
  std::vector<double> n(u + 1, 0), s(u + 1, 0), ss(u + 1, 0);
  for (std::size_t c = 0; c < u; ++c) {
    const double x = 0.5 * (cells.low[c] + cells.high[c]);
    n[c + 1] = n[c] + cells.count[c];
    s[c + 1] = s[c] + cells.count[c] * x;
    ss[c + 1] = ss[c] + cells.count[c] * x * x;
  }
  constexpr double kNever = -std::numeric_limits<double>::infinity();
  const auto gain = [&](std::size_t i, std::size_t j) {  // of one exit that owns cells i..j-1
    const double count = n[j] - n[i];
    if (count < least_count) return kNever;
    const double sum = s[j] - s[i];
    const double squares = std::max(ss[j] - ss[i] - sum * sum / count, 0.0);
    if (spread == SpreadModel::kEqual) return -squares;
    const double variance = squares / count, least = least_sd * least_sd;
    const double sd2 = std::max(variance, least);
    return count * (std::log(count / n[u]) - 0.5 * std::log(sd2) - 0.5 * variance / sd2 + 0.5);
  };
  std::vector<double> best(u + 1, kNever), next(u + 1);
  std::vector<std::vector<std::size_t>> from;  // [K - 1][end]
  for (std::size_t e = 1; e <= u; ++e) best[e] = gain(0, e);
  std::vector<CellPartition> out;
  if (u > 0 && best[u] > kNever) out.push_back({best[u], {0}});
  for (std::size_t k = 2; k <= most && k <= u && !out.empty(); ++k) {
    from.emplace_back(u + 1, 0);
    std::fill(next.begin(), next.end(), kNever);
    for (std::size_t e = k; e <= u; ++e) {
      for (std::size_t b = k - 1; b < e; ++b) {
        if (best[b] == kNever) continue;
        const double value = best[b] + gain(b, e);
        if (value > next[e]) next[e] = value, from.back()[e] = b;
      }
    }
    best.swap(next);
    if (best[u] == kNever) break;
    CellPartition p{best[u], {}};
    std::size_t end = u;
    for (std::size_t back = from.size(); back-- > 0;) p.starts.push_back(end = from[back][end]);
    p.starts.push_back(0);
    std::reverse(p.starts.begin(), p.starts.end());
    out.push_back(std::move(p));
  }
  return out;
}

std::vector<std::size_t> exit_of_cell(const CellPartition& partition, std::size_t cells) {
  std::vector<std::size_t> exit(cells, 0);
  for (std::size_t k = 0; k < partition.starts.size(); ++k) {
    const std::size_t end = k + 1 < partition.starts.size() ? partition.starts[k + 1] : cells;
    for (std::size_t c = partition.starts[k]; c < end; ++c) exit[c] = k;
  }
  return exit;
}

}  // namespace offramp::stats
