#include "stats/changepoint.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "stats/changepoint_tiles.h"
#include "stats/errors.h"
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

// Blocks of rows from the end. `far(row, block_end, begin, end)` for chunks of ends behind the block, groups
// of rows in parallel; then `near(row, block_end)`, last row first, for the ends row+1 .. block_end-1.
template <class Far, class Near>
void sweep_rows(std::size_t n, unsigned threads, Far far, Near near) {
  WorkerPool pool(n < 4 * kBlockRows ? 1 : threads);
  for (std::size_t blocks = (n + kBlockRows - 1) / kBlockRows; blocks-- > 0;) {
    const std::size_t begin = blocks * kBlockRows, end = std::min(n, begin + kBlockRows);
    const std::size_t split = end == n ? n + 1 : end;  // end n itself belongs to the last block's triangle
    pool.run((end - begin + kGroupRows - 1) / kGroupRows, [&](std::size_t group) {
      const std::size_t first = begin + group * kGroupRows, last = std::min(end, first + kGroupRows);
      for (std::size_t c = split; c <= n; c = (c / kChunk + 1) * kChunk) {
        for (std::size_t row = first; row < last; ++row) {
          far(row, split, c, std::min((c / kChunk + 1) * kChunk, n + 1));
        }
      }
    });
    for (std::size_t row = end; row-- > begin;) {
      near(row, split);
    }
  }
}

// X(i) = log2 sum over ends e > i of 2^term(i, e), x[n] given; `last(i)` is one more term of each row.
template <class Last>
std::vector<double> log_sum_recursion(const EvidenceTiles& tiles,
                                      double at_end,
                                      unsigned threads,
                                      Last last) {
  const std::size_t n = tiles.size();
  std::vector<double> x(n + 1 + kLanes, kNever);
  x[n] = at_end;
  std::vector<LogSum> sums(n, LogSum(0));
  sweep_rows(
      n,
      threads,
      [&](std::size_t row, std::size_t block_end, std::size_t begin, std::size_t end) {
        if (begin == block_end) {
          sums[row] = LogSum(x[block_end]);
        }
        sums[row].add(tiles, row, begin, end, x.data());
      },
      [&](std::size_t row, std::size_t block_end) {
        if (row + 1 < block_end) {
          sums[row].add(tiles, row, row + 1, block_end, x.data());
        }
        const double extra = last(row);
        if (extra > kNever / 2) {
          sums[row].add_one(extra);
        }
        x[row] = sums[row].log2();
      });
  return x;
}

std::vector<double> backward_log2_q(const EvidenceTiles& tiles, const LengthPrior& length, unsigned threads) {
  const std::size_t n = tiles.size();
  return log_sum_recursion(tiles, kNever, threads, [&](std::size_t row) {
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
  std::vector<double> q = backward_log2_q(tiles, length, options.threads);
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
      log_sum_recursion(reversed, 0.0, options.threads, [](std::size_t) { return 2 * kNever; });
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
  const std::vector<double> q = backward_log2_q(forward, length, options.threads);
  // Reversed position r stands for t = n - r; source weights are -log2 Q(t), so that
  // 2^(term + log2 Q(target)) is the probability of the next changepoint given the last one.
  std::vector<double> source(n + 1 + kLanes, kNever);
  for (std::size_t r = 1; r <= n; ++r) {
    source[r] = -q[n - r];
  }
  // reach[j][r]: probability that the j-th changepoint starts a segment at t = n - r.
  const std::size_t columns = max_count + 1;
  std::vector<std::vector<double>> reach(columns, std::vector<double>(n + 1 + kLanes, 0.0));
  reach[0][n] = 1;
  const auto accumulate = [&](std::size_t row, std::size_t begin, std::size_t end) {
    if (row == 0 || begin >= end) {
      return;  // t = n is the end of the data, not a changepoint
    }
    double weight[kChunk + kLanes];
    const std::size_t from = begin & ~(kLanes - 1);
    const Vec scale = splat(q[n - row]);
    reversed.for_terms(row, begin, end, source.data(), [&](std::size_t e, Vec term) {
      const Vec w = term + scale;  // what underflows is 0, so that no subnormal enters the products below
      store(weight + (e - from), w > splat(-1000.0) ? exp2(w) : splat(0.0));
    });
    for (std::size_t j = 0; j + 1 < columns; ++j) {
      Vec sum = splat(0.0);
      for (std::size_t e = from; e < end; e += kLanes) {
        sum += load(weight + (e - from)) * load(&reach[j][e]);
      }
      reach[j + 1][row] += sum_lanes(sum);
    }
  };
  sweep_rows(
      n,
      options.threads,
      [&](std::size_t row, std::size_t, std::size_t begin, std::size_t end) { accumulate(row, begin, end); },
      [&](std::size_t row, std::size_t block_end) { accumulate(row, row + 1, block_end); });
  std::vector<double> probability(columns, 0.0);
  for (std::size_t t = 0; t < n; ++t) {
    const double rest =
        std::exp2(forward.log2_evidence(t, n) + to_log2(length.log_survival[n - 1 - t]) - q[t]);
    for (std::size_t j = 0; j < columns; ++j) {
      probability[j] += reach[j][n - t] * rest;
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
  std::vector<double> x(n + 1 + kLanes, kNever), best(n, 2 * kNever);
  const auto last_segment = [&](std::size_t row) {
    return tiles.log2_evidence(row, n) + to_log2(length.log_survival[n - 1 - row]);
  };
  const auto improve = [&](std::size_t row, std::size_t begin, std::size_t end) {
    Vec top = splat(best[row]);
    tiles.for_terms(row, begin, end, x.data(), [&](std::size_t, Vec term) { top = max(top, term); });
    best[row] = max_lanes(top);
  };
  sweep_rows(
      n,
      options.threads,
      [&](std::size_t row, std::size_t, std::size_t begin, std::size_t end) { improve(row, begin, end); },
      [&](std::size_t row, std::size_t block_end) {
        improve(row, row + 1, block_end);
        x[row] = best[row] = std::max(best[row], last_segment(row));
      });
  MapSegmentation result;
  result.log_joint = x[0] * std::numbers::ln2;
  // Walk the path; the same vector code gives the same bits, so the end is found by equality.
  for (std::size_t row = 0; row < n;) {
    result.starts.push_back(row);
    std::size_t next = n;
    tiles.for_terms(row, row + 1, n, x.data(), [&](std::size_t e, Vec term) {
      for (std::size_t lane = 0; lane < kLanes && next == n; ++lane) {
        if (term[lane] == best[row] && e + lane > row) {
          next = e + lane;
        }
      }
    });
    row = next;
  }
  return result;
}

}  // namespace offramp::stats
