#include "stats/changepoint.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <string>
#include <utility>

#include "stats/changepoint_tiles.h"
#include "stats/checks.h"
#include "stats/parallel.h"

namespace offramp::stats {
namespace {

// Rows of one block: their far ends are known and independent of each other (threads), their near ends form a
// triangle that one thread solves. 256 rows of 10^5 leave 0.3 % of the pairs to the triangle.
constexpr std::size_t kBlockRows = 256;
constexpr std::size_t kGroupRows = 32;  // rows that share a chunk of prefix sums in the first-level cache

using Order = EvidenceTiles::Order;

void check(std::span<const double> y,
           const NormalGammaPrior& prior,
           const LengthPrior& length,
           const ChangepointOptions& options) {
  const char* what = "changepoints";
  require_some(y, what, "the data");
  require_finite(y, what, "the data");
  if (!(prior.k0 > 0) || !(prior.a0 > 0) || !(prior.b0 > 0) || !std::isfinite(prior.mu0) ||
      !std::isfinite(prior.k0 + prior.a0 + prior.b0)) {
    throw ValueError("changepoints: the prior needs finite mu0 and positive finite k0, a0, b0, got (" +
                     to_text(prior.mu0) + ", " + to_text(prior.k0) + ", " + to_text(prior.a0) + ", " +
                     to_text(prior.b0) + ")");
  }
  if (y.size() > options.max_points) {
    throw ValueError("changepoints: " + std::to_string(y.size()) +
                     " points need a pass over n^2/2 pairs, more than max_points = " +
                     std::to_string(options.max_points) + " allows");
  }
  if (length.log_mass.size() <= y.size() || length.log_survival.size() < y.size()) {
    throw ValueError("changepoints: the length prior must cover lengths up to " + std::to_string(y.size()) +
                     ", it covers " +
                     std::to_string(std::min(length.log_mass.size(), length.log_survival.size() + 1) - 1));
  }
}

double to_log2(double ln) { return std::max(ln * std::numbers::log2e, kNever); }

// Terms this many bits below a sum already collected are left out, if `prune` asks for it: n terms a row, and
// the rows' relative errors add up along a segmentation, so ln Q moves by less than n^2 2^-100, 1e-18 at n =
// 10^6.
constexpr double kDropBits = 100;

// Blocks of rows from the end. Rows has
//   start(row, split)      before the row's first chunk
//   far(row, begin, end)   ends of one chunk behind the block, groups of rows in parallel
//   floor(row)             terms below it need not be visited; may rise from chunk to chunk
//   near(row, split)       last row first: the ends row+1 .. split-1; returns x(row)
//   likely(row)            an end near the solved row's largest term: the next block visits its chunk first
// A chunk is skipped when the bound of EvidenceTiles says that all of it lies below the floor of each row.
template <class Rows>
void sweep_rows(const EvidenceTiles& tiles, const ChangepointOptions& options, double x_at_n, Rows& rows) {
  const std::size_t n = tiles.size();
  WorkerPool pool(n < 4 * kBlockRows ? 1 : options.threads);
  std::vector<double> highest_x(n / kChunk + 1, kNever);
  highest_x[n / kChunk] = x_at_n;
  std::vector<std::size_t> visited(kBlockRows / kGroupRows);
  std::size_t pairs = 0, likely = n;
  for (std::size_t blocks = (n + kBlockRows - 1) / kBlockRows; blocks-- > 0;) {
    const std::size_t begin = blocks * kBlockRows, end = std::min(n, begin + kBlockRows);
    const std::size_t split = end == n ? n + 1 : end;  // end n itself belongs to the last block's triangle
    const std::size_t first_chunk = std::max(likely, split) / kChunk;
    const auto chunk_of_rows = [&](std::size_t first, std::size_t last, std::size_t chunk) {
      const std::size_t from = std::max(split, chunk * kChunk), to = std::min((chunk + 1) * kChunk, n + 1);
      if (from >= to) {
        return;
      }
      if (options.prune && chunk != first_chunk) {
        double floor = rows.floor(first);
        for (std::size_t row = first + 1; row < last; ++row) {
          floor = std::min(floor, rows.floor(row));
        }
        if (tiles.bound(first, last, from, to) + highest_x[chunk] < floor) {
          return;
        }
      }
      for (std::size_t row = first; row < last; ++row) {
        rows.far(row, from, to);
      }
      visited[(first - begin) / kGroupRows] += (last - first) * (to - from);
    };
    std::fill(visited.begin(), visited.end(), 0);
    pool.run((end - begin + kGroupRows - 1) / kGroupRows, [&](std::size_t group) {
      const std::size_t first = begin + group * kGroupRows, last = std::min(end, first + kGroupRows);
      for (std::size_t row = first; row < last; ++row) {
        rows.start(row, split);
      }
      chunk_of_rows(first, last, first_chunk);
      for (std::size_t chunk = split / kChunk; chunk <= n / kChunk; ++chunk) {
        if (chunk != first_chunk) {
          chunk_of_rows(first, last, chunk);
        }
      }
    });
    for (std::size_t row = end; row-- > begin;) {
      highest_x[row / kChunk] = std::max(highest_x[row / kChunk], rows.near(row, split));
      pairs += split - row - 1;
    }
    likely = rows.likely(begin);
    pairs += std::accumulate(visited.begin(), visited.end(), std::size_t{0});
  }
  if (options.visited_pairs) {
    *options.visited_pairs += pairs;
  }
}

// X(i) = log2 sum over ends e > i of 2^term(i, e), x[n] given; `last(i)` is one more term of each row.
template <class Last>
struct SumRows {
  const EvidenceTiles& tiles;
  Last last;
  std::vector<double> x;
  std::vector<LogSum> sums;

  SumRows(const EvidenceTiles& t, double at_end, Last l)
      : tiles(t), last(l), x(t.size() + 1 + kLanes, kNever), sums(t.size()) {
    x[t.size()] = at_end;
  }
  void start(std::size_t row, std::size_t split) { sums[row].scale = x[std::min(split, tiles.size())]; }
  void far(std::size_t row, std::size_t begin, std::size_t end) {
    sums[row].add(tiles, row, begin, end, x.data());
  }
  double floor(std::size_t row) const { return sums[row].best - kDropBits; }
  double near(std::size_t row, std::size_t split) {
    if (row + 1 < split) {
      sums[row].add(tiles, row, row + 1, split, x.data());
    }
    const double extra = last(row);
    if (extra > kNever / 2) {
      sums[row].add_one(extra);
    }
    return x[row] = sums[row].log2();
  }
  std::size_t likely(std::size_t row) const { return sums[row].best_begin; }
};

template <class Last>
std::vector<double> log_sum_recursion(const EvidenceTiles& tiles,
                                      double at_end,
                                      const ChangepointOptions& options,
                                      Last last) {
  SumRows<Last> rows(tiles, at_end, last);
  sweep_rows(tiles, options, at_end, rows);
  return std::move(rows.x);
}

// x(i) = the largest of term(i, e) over ends e > i and `last(i)`.
template <class Last>
struct MaxRows {
  const EvidenceTiles& tiles;
  Last last;
  std::vector<double> x, best;
  std::vector<std::size_t> best_begin;

  MaxRows(const EvidenceTiles& t, Last l)
      : tiles(t),
        last(l),
        x(t.size() + 1 + kLanes, kNever),
        best(t.size(), 2 * kNever),
        best_begin(t.size(), 0) {}
  void start(std::size_t, std::size_t) {}
  void far(std::size_t row, std::size_t begin, std::size_t end) {
    Accumulators top = Accumulators::filled(best[row]);
    tiles.for_terms(row, begin, end, x.data(), [&]<std::size_t U>(std::size_t, const Pack<U>& term) {
      for (std::size_t u = 0; u < U; ++u) {
        top.v[u] = max(top.v[u], term.v[u]);
      }
    });
    const double highest = max_lanes(top.highest());
    if (highest > best[row]) {
      best[row] = highest;
      best_begin[row] = begin;
    }
  }
  double floor(std::size_t row) const { return best[row]; }
  double near(std::size_t row, std::size_t split) {
    far(row, row + 1, split);
    return x[row] = best[row] = std::max(best[row], last(row));
  }
  std::size_t likely(std::size_t row) const { return best_begin[row]; }
};

// reach[j][r]: probability that the j-th changepoint starts a segment at t = n - r, r counted from the end of
// the data; q[t] = log2 Q(t), source[r] = -q[n - r].
struct CountRows {
  const EvidenceTiles& tiles;
  const std::vector<double>&q, &source;
  std::vector<std::vector<double>> reach;

  CountRows(const EvidenceTiles& reversed,
            const std::vector<double>& log2_q,
            const std::vector<double>& sources,
            std::size_t columns)
      : tiles(reversed),
        q(log2_q),
        source(sources),
        reach(columns, std::vector<double>(reversed.size() + 1 + kLanes, 0.0)) {
    reach[0][reversed.size()] = 1;
  }
  void start(std::size_t, std::size_t) {}
  void far(std::size_t row, std::size_t begin, std::size_t end) {
    if (row == 0 || begin >= end) {
      return;  // t = n is the end of the data, not a changepoint
    }
    double weight[kChunk + kLanes];
    const std::size_t from = begin & ~(kLanes - 1);
    const Vec scale = splat(q[tiles.size() - row]);
    tiles.for_terms(row, begin, end, source.data(), [&]<std::size_t U>(std::size_t e, const Pack<U>& term) {
      for (std::size_t u = 0; u < U; ++u) {
        const Vec w =
            term.v[u] + scale;  // what underflows is 0, so that no subnormal enters the products below
        store(weight + (e - from) + u * kLanes, w > splat(-1000.0) ? exp2(w) : splat(0.0));
      }
    });
    for (std::size_t j = 0; j + 1 < reach.size(); ++j) {
      Vec sum = splat(0.0);
      for (std::size_t e = from; e < end; e += kLanes) {
        sum += load(weight + (e - from)) * load(&reach[j][e]);
      }
      reach[j + 1][row] += sum_lanes(sum);
    }
  }
  // Terms are probabilities times 2^-q; highest_x holds the source of each chunk of ends.
  double floor(std::size_t row) const { return row == 0 ? -kNever : -q[tiles.size() - row] - kDropBits; }
  double near(std::size_t row, std::size_t split) {
    far(row, row + 1, split);
    return source[row];
  }
  std::size_t likely(std::size_t) const { return 0; }
};

std::vector<double> backward_log2_q(const EvidenceTiles& tiles,
                                    const LengthPrior& length,
                                    const ChangepointOptions& options) {
  const std::size_t n = tiles.size();
  return log_sum_recursion(tiles, kNever, options, [&](std::size_t row) {
    return tiles.log2_evidence(row, n) + to_log2(length.log_survival[n - 1 - row]);
  });
}

}  // namespace

double log_segment_evidence(std::span<const double> y, const NormalGammaPrior& prior) {
  LengthPrior flat;
  flat.log_mass.assign(y.size() + 1, 0);
  flat.log_survival.assign(y.size(), 0);
  check(y, prior, flat, {});
  return EvidenceTiles(y, prior, flat, Order::kForward).log2_evidence(0, y.size()) * std::numbers::ln2;
}

LengthPrior LengthPrior::constant(std::size_t n) {
  LengthPrior p;
  const double total = static_cast<double>(n) + 1;
  p.log_mass.assign(n + 1, -std::log(total));
  p.log_survival.resize(n);
  for (std::size_t m = 0; m < n; ++m) {
    p.log_survival[m] = std::log1p(-static_cast<double>(m + 1) / total);
  }
  return p;
}

LengthPrior LengthPrior::geometric(std::size_t n, double p) {
  if (!(p > 0 && p < 1)) {
    throw ValueError("LengthPrior::geometric: p must lie in (0, 1), got " + to_text(p));
  }
  LengthPrior prior;
  prior.log_mass.assign(n + 1, kNever);
  prior.log_survival.resize(n);
  for (std::size_t l = 1; l <= n; ++l) {
    prior.log_mass[l] = std::log(p) + static_cast<double>(l - 1) * std::log1p(-p);
    prior.log_survival[l - 1] = static_cast<double>(l - 1) * std::log1p(-p);
  }
  return prior;
}

std::vector<double> changepoint_log_q(std::span<const double> y,
                                      const NormalGammaPrior& prior,
                                      const LengthPrior& length,
                                      const ChangepointOptions& options) {
  check(y, prior, length, options);
  const EvidenceTiles tiles(y, prior, length, Order::kForward);
  std::vector<double> q = backward_log2_q(tiles, length, options);
  q.resize(y.size());
  for (double& v : q) {
    v *= std::numbers::ln2;
  }
  return q;
}

ChangepointPosterior changepoint_posterior(std::span<const double> y,
                                           const NormalGammaPrior& prior,
                                           const LengthPrior& length,
                                           const ChangepointOptions& options) {
  ChangepointPosterior result;
  result.log_q = changepoint_log_q(y, prior, length, options);
  result.log_evidence = result.log_q[0];
  // F(t): all ways to cover y_0..y_{t-1} by closed segments; read backwards it is the same recursion.
  const std::size_t n = y.size();
  const EvidenceTiles reversed(y, prior, length, Order::kReversed);
  const std::vector<double> f =
      log_sum_recursion(reversed, 0.0, options, [](std::size_t) { return 2 * kNever; });
  result.at.resize(n - 1);
  for (std::size_t i = 0; i + 1 < n; ++i) {
    const double ln_f = f[n - (i + 1)] * std::numbers::ln2;
    result.at[i] = std::min(1.0, std::exp(ln_f + result.log_q[i + 1] - result.log_evidence));
    result.expected_count += result.at[i];
  }
  return result;
}

std::vector<double> changepoint_count_posterior(std::span<const double> y,
                                                const NormalGammaPrior& prior,
                                                const LengthPrior& length,
                                                std::size_t max_count,
                                                const ChangepointOptions& options) {
  check(y, prior, length, options);
  const std::size_t n = y.size();
  const EvidenceTiles forward(y, prior, length, Order::kForward);
  const EvidenceTiles reversed(y, prior, length, Order::kReversed);
  const std::vector<double> q = backward_log2_q(forward, length, options);
  // Reversed position r stands for t = n - r; source weights are -log2 Q(t), so that
  // 2^(term + log2 Q(target)) is the probability of the next changepoint given the last one.
  std::vector<double> source(n + 1 + kLanes, kNever);
  for (std::size_t r = 1; r <= n; ++r) {
    source[r] = -q[n - r];
  }
  const std::size_t columns = max_count + 1;
  CountRows rows(reversed, q, source, columns);
  sweep_rows(reversed, options, source[n], rows);
  std::vector<double> probability(columns, 0.0);
  for (std::size_t t = 0; t < n; ++t) {
    const double rest =
        std::exp2(forward.log2_evidence(t, n) + to_log2(length.log_survival[n - 1 - t]) - q[t]);
    for (std::size_t j = 0; j < columns; ++j) {
      probability[j] += rows.reach[j][n - t] * rest;
    }
  }
  return probability;
}

MapSegmentation map_segmentation(std::span<const double> y,
                                 const NormalGammaPrior& prior,
                                 const LengthPrior& length,
                                 const ChangepointOptions& options) {
  check(y, prior, length, options);
  const std::size_t n = y.size();
  const EvidenceTiles tiles(y, prior, length, Order::kForward);
  const auto last_segment = [&](std::size_t row) {
    return tiles.log2_evidence(row, n) + to_log2(length.log_survival[n - 1 - row]);
  };
  MaxRows rows(tiles, last_segment);
  sweep_rows(tiles, options, kNever, rows);
  MapSegmentation result;
  result.log_joint = rows.best[0] * std::numbers::ln2;
  // Walk the path by looking for the best end of each segment again. Not by equality with the sweep's value:
  // a compiler may fuse the same expression in one loop and not in the other.
  for (std::size_t row = 0; row < n;) {
    result.starts.push_back(row);
    std::size_t next = n;
    double best = -std::numeric_limits<double>::infinity();
    tiles.for_terms(row, row + 1, n, rows.x.data(), [&]<std::size_t U>(std::size_t e, const Pack<U>& term) {
      for (std::size_t i = 0; i < U * kLanes; ++i) {
        const double value = term.v[i / kLanes][i % kLanes];
        if (value > best && e + i > row && e + i < n) {
          best = value;
          next = e + i;
        }
      }
    });
    if (last_segment(row) > best) next = n;
    row = next;
  }
  return result;
}

}  // namespace offramp::stats
