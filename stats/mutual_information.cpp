#include "stats/mutual_information.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>
#include <random>
#include <vector>

#include "stats/checks.h"

namespace offramp::stats {
namespace {

constexpr std::size_t kValuesOfABin = 20, kMostBins = 64;

std::vector<std::size_t> equal_count_bins(std::span<const double> x, std::size_t bins) {
  require_finite(x, "mutual_information", "x");
  if (bins == 0) bins = std::clamp<std::size_t>(x.size() / kValuesOfABin, 2, kMostBins);
  std::vector<std::size_t> order(x.size()), bin(x.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return x[a] < x[b]; });
  for (std::size_t i = 0; i < order.size(); ++i) {
    const bool same = i > 0 && x[order[i]] == x[order[i - 1]];
    bin[order[i]] = same ? bin[order[i - 1]] : i * bins / order.size();
  }
  return bin;
}

// sum over cells of c log2 c, divided by n.
template <class Cells>
double mean_log(const Cells& cells, double n) {
  double sum = 0;
  for (const auto& [key, count] : cells) {
    sum += count * std::log2(count);
  }
  return sum / n;
}

}  // namespace

MutualInformation mutual_information(std::span<const std::size_t> x, std::span<const std::size_t> y) {
  require_same_size(x.size(), "x", y.size(), "y", "mutual_information");
  if (x.empty()) {
    throw DataError("mutual_information: at least one pair is needed, got none");
  }
  std::map<std::size_t, double> rows, columns;
  std::map<std::pair<std::size_t, std::size_t>, double> cells;
  for (std::size_t i = 0; i < x.size(); ++i) {
    ++rows[x[i]];
    ++columns[y[i]];
    ++cells[{x[i], y[i]}];
  }
  const double n = static_cast<double>(x.size());
  MutualInformation r;
  r.plug_in = std::max(0.0, mean_log(cells, n) - mean_log(rows, n) - mean_log(columns, n) + std::log2(n));
  r.of_first = std::max(0.0, std::log2(n) - mean_log(rows, n));
  r.of_labels = std::max(0.0, std::log2(n) - mean_log(columns, n));
  const double excess = static_cast<double>(cells.size()) - static_cast<double>(rows.size()) -
                        static_cast<double>(columns.size()) + 1;
  // No variable says more than it holds, nor more than the other one does.
  const double most = std::min(r.of_labels, r.of_first);
  r.corrected = std::max(0.0, std::min(most, r.plug_in - excess / (2 * n * std::numbers::ln2)));
  return r;
}

MutualInformation mutual_information(std::span<const double> x,
                                     std::span<const std::size_t> y,
                                     std::size_t bins) {
  return mutual_information(equal_count_bins(x, bins), y);
}

double independence_p_value(std::span<const double> x,
                            std::span<const std::size_t> y,
                            std::size_t bins,
                            std::size_t rounds,
                            std::uint64_t seed) {
  const std::vector<std::size_t> bin = equal_count_bins(x, bins);
  std::vector<std::size_t> shuffled(y.begin(), y.end());
  const double observed = mutual_information(bin, y).plug_in;
  // Permuting keeps the margins, so equal tables differ only by rounding of the order of summation.
  const double rounding = 1e-12 * (1 + observed);
  std::mt19937_64 rng(seed);
  std::size_t hits = 0;
  for (std::size_t r = 0; r < rounds; ++r) {
    for (std::size_t i = shuffled.size(); i > 1; --i) {
      std::swap(shuffled[i - 1], shuffled[rng() % i]);
    }
    hits += mutual_information(bin, shuffled).plug_in >= observed - rounding ? 1 : 0;
  }
  return static_cast<double>(hits + 1) / static_cast<double>(rounds + 1);
}

}  // namespace offramp::stats
