#include "stats/exits/exit_posterior.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <limits>
#include <numbers>
#include <numeric>

#include "stats/exits/cell_partition.h"
#include "stats/parallel.h"

namespace offramp::stats {
namespace {

constexpr double kMainPart = 0.12;  // share of the times from which a part is one of the shape's peaks
// A rarer part is the shape's tail, which is wide. One that lies farther off than so many deviations of its own and of
// its neighbour, and holds enough, is an exit.
constexpr double kIsland = 8, kIslandShare = 0.01, kIslandSamples = 8;
// Exits share the noise, and so nearly its scale, where it could be mistaken for them. One that lies farther from its
// neighbour than so many of the wider one's deviations may scatter up to ten times as much.
constexpr double kOwnScaleGap = 8, kMostJump = 10;
// A shape whose tail reaches over the neighbours takes their times: no exits lie closer, in spreads.
constexpr double kLeastGap = 0.3;
constexpr double kJumpCost = 10;  // the most of it, -2 ln of a prior with a wide tail

void sort_by_mean(ShapeMixture& m) {
  const std::size_t k = m.exits(), j = m.parts();
  std::vector<std::size_t> order(k);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(
      order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return m.mean(a) < m.mean(b); });
  ShapeMixture sorted = m;
  for (std::size_t i = 0; i < k; ++i) {
    sorted.share[i] = m.share[order[i]];
    sorted.location[i] = m.location[order[i]];
    sorted.scale[i] = m.scale[order[i]];
    for (std::size_t p = 0; p < j; ++p) sorted.weight[i * j + p] = m.weight[order[i] * j + p];
  }
  m = std::move(sorted);
}

bool all_win(const std::vector<std::size_t>& last) {
  return std::adjacent_find(last.begin(), last.end(), std::greater_equal<>()) == last.end();
}

double deviations(std::pair<double, double> a,
                  std::pair<double, double> b) {  // of two parts: offset and width
  return std::abs(a.first - b.first) * std::numbers::sqrt2 / std::hypot(a.second, b.second);
}

// Distance of the outermost main parts of the shape, their deviation, and the largest distance of neighbouring ones in
// their deviation; the farthest that a lesser part of at least `least_weight` lies from all heavier ones (a lighter one,
// of late queries say, is so wide that it would join what lies apart).
struct Peaks {
  double apart = 0, width = 1, step = 0, island = 0;
};
Peaks peaks_of(const ShapeMixture& m, double least_weight) {
  std::vector<std::pair<double, double>> parts;  // offset and width
  std::vector<double> weight(m.parts(), 0);
  for (std::size_t j = 0; j < m.parts(); ++j)
    for (std::size_t k = 0; k < m.exits(); ++k) weight[j] += m.share[k] * m.weight[k * m.parts() + j];
  double sum = 0, squares = 0, island = 0;
  for (std::size_t j = 0; j < m.parts(); ++j) {
    const double w = weight[j];
    if (w <= kMainPart) {
      double nearest = std::numeric_limits<double>::infinity();
      for (std::size_t i = 0; i < m.parts(); ++i)
        if (i != j && weight[i] >= w)
          nearest = std::min(nearest, deviations({m.offset[i], m.width[i]}, {m.offset[j], m.width[j]}));
      if (w >= least_weight && std::isfinite(nearest)) island = std::max(island, nearest);
      continue;
    }
    parts.emplace_back(m.offset[j], m.width[j]);
    sum += w;
    squares += w * m.width[j] * m.width[j];
  }
  std::sort(parts.begin(), parts.end());
  Peaks peaks;
  peaks.island = island;
  if (parts.empty()) return peaks;
  peaks.apart = parts.back().first - parts.front().first;
  peaks.width = std::sqrt(squares / sum);
  for (std::size_t j = 1; j < parts.size(); ++j)
    peaks.step = std::max(peaks.step, deviations(parts[j], parts[j - 1]));
  return peaks;
}

// -2 ln of a prior: the parts weigh about the same in every exit, ln(weight / that of all) has deviation 1.
double unlike_weights(const ShapeMixture& m) {
  if (!m.family.own_weights) return 0;
  double cost = 0;
  for (std::size_t j = 0; j < m.parts(); ++j) {
    double all = 0;
    for (std::size_t k = 0; k < m.exits(); ++k) all += m.share[k] * m.weight[k * m.parts() + j];
    for (std::size_t k = 0; k < m.exits(); ++k) {
      const double z = std::log(std::max(m.weight[k * m.parts() + j], 1e-4) / std::max(all, 1e-4));
      cost += z * z;
    }
  }
  return cost;
}

class Search {
 public:
  Search(const TimeCells& cells, double least_width, const PosteriorPrior& prior)
      : cells_(cells), prior_(prior), fit_(cells, least_width), least_width_(least_width) {
    const double n = fit_.total();
    trust_ = 1 / (1 + n / prior.coarsening);
    least_share_ = std::max(prior.least_share, prior.least_samples / n);
  }

  // Sets all but the mixture. Infinite where the mixture is none that exits would make.
  void judge(FittedExits& f) {
    ShapeMixture& m = f.mixture;
    sort_by_mean(m);
    const std::size_t exits = m.exits();
    const std::vector<double> r = fit_.responsibilities(m);
    f.entropy = 0;
    for (std::size_t c = 0; c < cells_.count.size(); ++c)
      for (std::size_t k = 0; k < exits; ++k)
        if (r[c * exits + k] > 0)
          f.entropy -= cells_.count[c] * r[c * exits + k] * std::log(r[c * exits + k]);
    const double n = fit_.total() * trust_;
    f.criterion = -2 * trust_ * m.log_likelihood + static_cast<double>(m.parameters()) * std::log(n + 1) +
                  2 * prior_.entropy_weight * trust_ * f.entropy;
    const Peaks peaks = peaks_of(m, std::max(kIslandShare, kIslandSamples / fit_.total()));
    bool allowed = true;
    f.least_gap = std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < exits; ++k) {
      allowed = allowed && (exits == 1 || m.share[k] >= least_share_);
      f.criterion -= 2 * (prior_.share_weight - 1) * std::log(static_cast<double>(exits) * m.share[k]);
      if (k == 0) continue;
      const double jump = m.scale[k] / m.scale[k - 1], scale = std::max(m.scale[k], m.scale[k - 1]);
      const double gap = (m.mean(k) - m.mean(k - 1));
      const double apart = gap / std::max({m.spread(k), m.spread(k - 1), least_width_});
      const bool own_scale = apart > kOwnScaleGap;
      allowed = allowed && (own_scale ? jump < kMostJump && jump > 1 / kMostJump : jump < 3 && jump > 0.4);
      if (m.family.free_scale) {
        const double z = std::log(jump) / prior_.scale_deviation;
        f.criterion +=
            (own_scale ? std::min(z * z, kJumpCost) : z * z) - std::log(2.0);  // against the range of jumps
      }
      f.least_gap = std::min(f.least_gap, apart);
      allowed = allowed && apart > kLeastGap;
      allowed = allowed && gap > (m.family.own_weights ? 2.5 : 1.5) * peaks.apart * scale;
      allowed = allowed && gap > peaks.width * scale;
    }
    f.criterion += unlike_weights(m);
    f.all_win = all_win(last_cells(cells_.count, r, exits));
    allowed = allowed && f.all_win;
    // Peaks four deviations apart would be two exits.
    allowed = allowed && peaks.step <= 4 && peaks.island <= kIsland;
    if (peaks.step > 2) f.criterion += 2 * prior_.regimes_cost;
    if (!allowed) f.criterion = std::numeric_limits<double>::infinity();
  }

  FittedExits fitted(std::span<const std::size_t> labels,
                     std::size_t exits,
                     ShapeFamily family,
                     std::size_t steps) {
    FittedExits f;
    f.mixture = fit_.start(labels, exits, family);
    fit_.run(f.mixture, steps, 0.01);
    judge(f);
    return f;
  }

  // [cells] the most probable exit, contiguous runs; empty if some exit owns none.
  std::vector<std::size_t> labels_of(const ShapeMixture& m) {
    const std::size_t exits = m.exits();
    const std::vector<double> r = fit_.responsibilities(m);
    const std::vector<bool> outlier = fit_.outliers(m);
    std::vector<std::size_t> labels, owned(exits, 0);
    for (std::size_t c = 0; c < cells_.count.size(); ++c) {
      if (outlier[c]) {
        labels.push_back(kNoExit);
        continue;
      }
      const auto* row = &r[c * exits];
      labels.push_back(static_cast<std::size_t>(std::max_element(row, row + exits) - row));
      ++owned[labels.back()];
    }
    if (std::find(owned.begin(), owned.end(), 0u) != owned.end()) labels.clear();
    return labels;
  }

  ShapeFit& fit() { return fit_; }
  double least_count() const {
    return std::min(std::max(2.0, 0.5 * least_share_ * fit_.total()), fit_.total());
  }

 private:
  const TimeCells& cells_;
  PosteriorPrior prior_;
  ShapeFit fit_;
  double least_width_, trust_ = 1, least_share_ = 0;
};

// The labels with one exit cut in two, at the cut that gains most.
std::vector<std::size_t> cut_exit(const TimeCells& cells,
                                  const std::vector<std::size_t>& labels,
                                  std::size_t exit,
                                  const PartitionOptions& options) {
  TimeCells own;
  std::vector<std::size_t> index;
  for (std::size_t c = 0; c < labels.size(); ++c) {
    if (labels[c] != exit) continue;
    own.low.push_back(cells.low[c]);
    own.high.push_back(cells.high[c]);
    own.count.push_back(cells.count[c]);
    index.push_back(c);
  }
  const auto two = best_partitions(own, 2, options);
  if (two.size() < 2) return {};
  std::vector<std::size_t> cut = labels;
  for (std::size_t& l : cut) l += l != kNoExit && l > exit ? 1 : 0;
  for (std::size_t i = 0; i < index.size(); ++i) {
    const std::size_t half = two[1].exit_of_cell[i];
    cut[index[i]] = half == kNoExit ? kNoExit : exit + half;
  }
  return cut;
}

}  // namespace

namespace {

// What a promise asks of the fit: the least gap of neighbours in the larger spread, and the weight. Few exits say little of
// what one looks like.
struct Safe {
  double gap, weight;
};
constexpr Safe safe_fit(std::size_t exits) {
  return exits == 2 ? Safe{7.25, 0.9} : exits == 3 ? Safe{5.8, 0.7} : Safe{5.6, 0.55};
}

// That exits whose neighbours are `gap` apart hide others.
double probability_hidden(double gap) {
  if (std::isinf(gap)) return 0.6;  // one exit: nothing says how wide one is
  return 0.5 * std::clamp((6 - gap) / 2.5, 0.04, 1.0);
}

}  // namespace

std::vector<std::size_t> last_cells(std::span<const double> counts,
                                    std::span<const double> responsibilities,
                                    std::size_t exits) {
  std::vector<std::size_t> last(exits - 1, 0);
  for (std::size_t k = 0; k + 1 < exits; ++k) {
    double sum = 0, most = -std::numeric_limits<double>::infinity();
    for (std::size_t c = 0; c + 1 < counts.size(); ++c) {
      double upto = 0;
      for (std::size_t e = 0; e <= k; ++e) upto += responsibilities[c * exits + e];
      sum += counts[c] * (2 * upto - 1);
      if (sum > most) most = sum, last[k] = c;
    }
  }
  return last;
}

std::vector<double> probability_of_exits(const ExitPosterior& posterior, std::size_t most) {
  constexpr double kOneMore = 0.6;  // of a geometric number of hidden ones
  std::vector<double> p(most, 0.0);
  for (std::size_t i = 0; i < posterior.best.size() && i < most; ++i) {
    const double hidden = probability_hidden(posterior.best[i].least_gap);
    p[i] += posterior.weight[i] * (1 - hidden);
    double share = hidden * (1 - kOneMore);
    for (std::size_t k = i + 1; k < most; ++k, share *= kOneMore) p[k] += posterior.weight[i] * share;
  }
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}

bool is_reliable(const ExitPosterior& posterior, std::size_t exits) {
  if (exits < 2 || exits != posterior.most_probable) return false;
  const FittedExits& f = posterior.best[exits - 1];
  const Safe safe = safe_fit(exits);
  return posterior.weight[exits - 1] >= safe.weight && f.least_gap >= safe.gap;
}

ExitPosterior exit_posterior(const TimeCells& cells,
                             double least_width,
                             std::size_t most,
                             const PosteriorPrior& prior,
                             unsigned threads,
                             std::size_t asked) {
  Search search(cells, least_width, prior);
  PartitionOptions partition{.least_sd = 2 * least_width, .least_count = search.least_count()};
  // A normal's density lacks 1/sqrt(2 pi) in the gains; one time in 200 is an outlier.
  partition.outlier_cost = search.fit().log_range() - std::log(0.005) - 0.5 * std::log(2 * std::numbers::pi);
  const auto free = best_partitions(cells, most, partition);
  // Up to where normal exits alone would stop and to the number asked for, and until three numbers in a row did worse; no
  // further where three in a row are none that exits would make.
  std::size_t at_least = 1;
  const auto price = [&](std::size_t i) {
    return free[i].log_likelihood - 6 * std::log(search.fit().total()) * static_cast<double>(i);
  };
  for (std::size_t i = 1; i < free.size(); ++i)
    if (price(i) > price(at_least - 1)) at_least = i + 1;
  PartitionOptions even = partition;
  even.spread = SpreadModel::kEqual;
  const auto equal = best_partitions(cells, most, even);
  const ShapeFamily families[] = {{1, false, false},
                                  {1, true, false},
                                  {2, false, false},
                                  {2, true, false},
                                  {3, false, false},
                                  {3, true, false},
                                  {2, false, true},
                                  {2, true, true}};
  ExitPosterior out;
  WorkerPool pool(threads);
  std::size_t worse = 0, barred = 0;
  std::vector<std::vector<std::size_t>> before;  // labels of the best fits with one exit less
  double best_of_all = std::numeric_limits<double>::infinity();
  for (std::size_t exits = 1; exits <= most; ++exits) {
    std::vector<std::vector<std::size_t>> starts;
    const auto add = [&](std::vector<std::size_t> labels) {
      if (!labels.empty() && std::find(starts.begin(), starts.end(), labels) == starts.end())
        starts.push_back(std::move(labels));
    };
    if (exits <= free.size()) add(free[exits - 1].exit_of_cell);
    if (exits <= equal.size()) add(equal[exits - 1].exit_of_cell);
    for (const auto& labels : before)
      for (std::size_t e = 0; e + 1 < exits; ++e) add(cut_exit(cells, labels, e, partition));
    if (starts.empty()) break;
    // A short fit of each; the best three in every family.
    const ShapeFamily quick{1, true, false};
    std::vector<FittedExits> fits(starts.size());
    pool.run(fits.size(), [&](std::size_t i) {
      fits[i] = Search(cells, least_width, prior).fitted(starts[i], exits, quick, 12);
    });
    std::vector<std::pair<double, std::size_t>> rank;
    for (std::size_t i = 0; i < starts.size(); ++i)
      rank.emplace_back(
          std::isfinite(fits[i].criterion) ? fits[i].criterion : 1e12 - fits[i].mixture.log_likelihood, i);
    std::sort(rank.begin(), rank.end());
    if (rank.size() > 3) rank.resize(3);
    constexpr std::size_t kFamilies = std::size(families);
    fits.assign(rank.size() * kFamilies, {});
    pool.run(fits.size(), [&](std::size_t i) {
      fits[i] = Search(cells, least_width, prior)
                    .fitted(starts[rank[i / kFamilies].second], exits, families[i % kFamilies], 40);
    });
    std::stable_sort(fits.begin(), fits.end(), [](const FittedExits& x, const FittedExits& y) {
      return x.criterion < y.criterion;
    });
    before.clear();
    for (std::size_t i = 0; i < fits.size() && before.size() < 2; ++i) {
      auto labels = search.labels_of(fits[i].mixture);
      if (!labels.empty() && std::find(before.begin(), before.end(), labels) == before.end())
        before.push_back(std::move(labels));
    }
    search.fit().run(fits[0].mixture, 200, 1e-3);
    search.judge(fits[0]);
    out.best.push_back(fits[0]);
    worse = fits[0].criterion < best_of_all ? 0 : worse + 1;
    best_of_all = std::min(best_of_all, fits[0].criterion);
    barred = std::isfinite(fits[0].criterion) ? 0 : barred + 1;
    if (worse >= 3 && exits >= at_least && (exits >= asked || barred >= 3)) break;
  }
  if (!std::isfinite(best_of_all))
    best_of_all = out.best[0].criterion = 0;  // no fit is any: one exit, as always
  double sum = 0;
  for (std::size_t i = 0; i < out.best.size(); ++i) {
    out.weight.push_back(std::exp(-0.5 * (out.best[i].criterion - best_of_all) / prior.temperature));
    sum += out.weight.back();
    if (out.best[i].criterion == best_of_all) out.most_probable = i + 1;
  }
  for (double& p : out.weight) p /= sum;
  return out;
}

}  // namespace offramp::stats
