#include "stats/exits/valleys.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <queue>

#include "stats/checks.h"
#include "stats/kde.h"

namespace offramp::stats {
namespace {

constexpr double kReach = 12;              // bandwidths; beyond it a kernel is 5e-32 of its height
constexpr double kCellsPerBandwidth = 32;  // relative error of a kernel 12 h away: (12/64)^4/24 = 5e-5
constexpr double kPointsPerBandwidth = 8;
constexpr double kMaxPoints = 1 << 21;

using Extremum = DensityExtrema::Point;

// Runs of samples whose neighbours are closer than two reaches.
std::vector<std::span<const double>> blocks_of(std::span<const double> sorted, double h) {
  std::vector<std::span<const double>> blocks;
  std::size_t begin = 0;
  for (std::size_t i = 1; i <= sorted.size(); ++i) {
    if (i == sorted.size() || sorted[i] - sorted[i - 1] > 2 * kReach * h) {
      blocks.push_back(sorted.subspan(begin, i - begin));
      begin = i;
    }
  }
  return blocks;
}

bool too_many_points(std::span<const double> sorted, double h) {
  double points = 0, longest = 0;
  for (const auto block : blocks_of(sorted, h)) {
    const double length = (block.back() - block.front()) / h + 2 * kReach;
    points += length * kPointsPerBandwidth;
    longest = std::max(longest, length);
  }
  return points > kMaxPoints || longest * kCellsPerBandwidth > (1 << 20) - 64;
}

// Golden section for the minimum of sign * f on [low, high].
Extremum refine(const BinnedDensity& f, double low, double high, double sign) {
  constexpr double kGolden = 1 / std::numbers::phi;
  double a = high - kGolden * (high - low), b = low + kGolden * (high - low);
  double fa = sign * f(a), fb = sign * f(b);
  for (int i = 0; i < 30; ++i) {
    if (fa < fb) {
      high = b, b = a, fb = fa;
      a = high - kGolden * (high - low);
      fa = sign * f(a);
    } else {
      low = a, a = b, fa = fb;
      b = low + kGolden * (high - low);
      fb = sign * f(b);
    }
  }
  const double x = low + (high - low) / 2;
  return {x, f(x)};
}

// Appends the extrema of one block, whose density counts `share` of the whole.
void append_block(DensityExtrema& out,
                  std::span<const double> block,
                  double h,
                  double share,
                  unsigned threads,
                  const DensityFunction& density) {
  const BinnedDensity f(block, h, h / kCellsPerBandwidth, kReach, threads);
  const double step = h / kPointsPerBandwidth, origin = block.front() - 4 * h;
  const auto points = static_cast<std::size_t>(std::ceil((block.back() + 4 * h - origin) / step)) + 1;
  std::vector<double> x(points), y(points);
  for (std::size_t i = 0; i < points; ++i) {
    x[i] = origin + static_cast<double>(i) * step;
  }
  if (density) {
    y = density(block, x, h, h / kCellsPerBandwidth, kReach);
  } else {
    f.evaluate(x, y, threads);
  }
  const double nothing = 1e-28 / (static_cast<double>(block.size()) * h);
  for (double& v : y) {
    v = v < nothing ? 0 : v;
  }
  // Walk runs of equal values; a run between a rise and a fall is a peak, between a fall and a rise a valley.
  int direction = 1;  // the density rises from zero at the left end
  std::size_t run = 0;
  std::vector<Extremum> peaks, valleys;
  const auto point = [&](std::size_t first, std::size_t last, double sign) {
    if (last > first || y[first] == 0) {
      return Extremum{(x[first] + x[last]) / 2, y[first]};
    }
    return refine(f, x[first] - step, x[last] + step, sign);
  };
  for (std::size_t i = 1; i < points; ++i) {
    if (y[i] == y[run]) {
      continue;
    }
    const int next = y[i] > y[run] ? 1 : -1;
    if (direction == 1 && next == -1) {
      peaks.push_back(point(run, i - 1, -1));
    } else if (direction == -1 && next == 1) {
      valleys.push_back(point(run, i - 1, 1));
    }
    direction = next;
    run = i;
  }
  if (direction == 1) {
    peaks.push_back(point(run, points - 1, -1));
  }
  for (const Extremum& p : peaks) {
    out.peaks.push_back({p.x, p.f * share});
  }
  for (const Extremum& p : valleys) {
    out.valleys.push_back({p.x, p.f * share});
  }
}

std::size_t count_below(std::span<const double> sorted, double x) {
  return static_cast<std::size_t>(std::upper_bound(sorted.begin(), sorted.end(), x) - sorted.begin());
}

// Clusters as a linked list; each knows its peak, its samples and the valley to its right.
class ClusterList {
 public:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  ClusterList(const DensityExtrema& e, std::span<const double> sorted) {
    std::size_t before = 0;
    for (std::size_t i = 0; i < e.peaks.size(); ++i) {
      const bool last = i == e.valleys.size();
      const std::size_t upto = last ? sorted.size() : count_below(sorted, e.valleys[i].x);
      clusters_.push_back({e.peaks[i],
                           last ? Extremum{0, 0} : e.valleys[i],
                           upto - before,
                           i == 0 ? kNone : i - 1,
                           last ? kNone : i + 1,
                           false});
      before = upto;
    }
  }
  std::size_t size() const { return clusters_.size(); }
  bool gone(std::size_t c) const { return clusters_[c].gone; }
  std::size_t samples(std::size_t c) const { return clusters_[c].samples; }
  std::size_t left_of(std::size_t c) const { return clusters_[c].left; }
  std::size_t right_of(std::size_t c) const { return clusters_[c].right; }
  double valley_height(std::size_t c) const { return clusters_[c].valley.f; }
  // Valley to the right of c over the lower of its peaks; 1 where both are 0.
  double ratio(std::size_t c) const {
    const double lower = std::min(clusters_[c].peak.f, clusters_[clusters_[c].right].peak.f);
    return lower > 0 ? clusters_[c].valley.f / lower : 1;
  }
  // c swallows its right neighbour.
  void merge_right(std::size_t c) {
    Cluster& left = clusters_[c];
    Cluster& right = clusters_[left.right];
    left.peak = left.peak.f >= right.peak.f ? left.peak : right.peak;
    left.valley = right.valley;
    left.samples += right.samples;
    right.gone = true;
    left.right = right.right;
    if (left.right != kNone) {
      clusters_[left.right].left = c;
    }
  }
  void write(DensityExtrema& e) const {
    e.peaks.clear();
    e.valleys.clear();
    for (const Cluster& c : clusters_) {
      if (!c.gone) {
        e.peaks.push_back(c.peak);
        if (c.right != kNone) {
          e.valleys.push_back(c.valley);
        }
      }
    }
  }

 private:
  struct Cluster {
    Extremum peak, valley;
    std::size_t samples, left, right;
    bool gone;
  };
  std::vector<Cluster> clusters_;
};

// Smallest key first, then leftmost. Entries are never updated: a changed one is pushed again and the old one
// no longer matches when it is popped.
template <class Key>
using Queue = std::priority_queue<std::pair<Key, std::size_t>,
                                  std::vector<std::pair<Key, std::size_t>>,
                                  std::greater<std::pair<Key, std::size_t>>>;

// Removes valleys with the largest ratio first while wanted(ratio, valleys left).
template <class Wanted>
void remove_by_ratio(DensityExtrema& e, Wanted wanted) {
  ClusterList clusters(e, {});
  Queue<double> queue;
  for (std::size_t c = 0; c < e.valleys.size(); ++c) {
    queue.emplace(-clusters.ratio(c), c);
  }
  for (std::size_t left = e.valleys.size(); left > 0;) {
    const auto [key, c] = queue.top();
    queue.pop();
    if (clusters.gone(c) || clusters.right_of(c) == ClusterList::kNone || -key != clusters.ratio(c)) {
      continue;
    }
    if (!wanted(-key, left)) {
      break;
    }
    clusters.merge_right(c);
    --left;
    for (const std::size_t changed : {c, clusters.left_of(c)}) {
      if (changed != ClusterList::kNone && clusters.right_of(changed) != ClusterList::kNone) {
        queue.emplace(-clusters.ratio(changed), changed);
      }
    }
  }
  clusters.write(e);
}

}  // namespace

DensityExtrema density_extrema(std::span<const double> sorted,
                               double bandwidth,
                               unsigned threads,
                               const DensityFunction& density) {
  const char* what = "density_extrema";
  require_some(sorted, what, "the sample");
  require_finite(sorted, what, "the sample");
  if (!std::is_sorted(sorted.begin(), sorted.end())) {
    throw ValueError("density_extrema: the sample must be in ascending order");
  }
  if (!(bandwidth > 0) || !std::isfinite(bandwidth)) {
    throw ValueError("density_extrema: the bandwidth must be positive and finite, got " + to_text(bandwidth));
  }
  DensityExtrema out;
  while (too_many_points(sorted, bandwidth)) {
    bandwidth *= 2;
  }
  out.bandwidth = bandwidth;
  std::span<const double> before;
  for (const auto block : blocks_of(sorted, bandwidth)) {
    if (!before.empty()) {
      out.valleys.push_back({before.back() + (block.front() - before.back()) / 2, 0});
    }
    append_block(out,
                 block,
                 bandwidth,
                 static_cast<double>(block.size()) / static_cast<double>(sorted.size()),
                 threads,
                 density);
    before = block;
  }
  return out;
}

void merge_small_clusters(DensityExtrema& e, std::span<const double> sorted, double min_share) {
  const double least = min_share * static_cast<double>(sorted.size());
  ClusterList clusters(e, sorted);
  Queue<std::size_t> queue;
  for (std::size_t c = 0; c < clusters.size(); ++c) {
    queue.emplace(clusters.samples(c), c);
  }
  while (!queue.empty()) {
    const auto [samples, c] = queue.top();
    queue.pop();
    if (clusters.gone(c) || samples != clusters.samples(c)) {
      continue;
    }
    const std::size_t left = clusters.left_of(c), right = clusters.right_of(c);
    if (static_cast<double>(samples) >= least ||
        (left == ClusterList::kNone && right == ClusterList::kNone)) {
      break;
    }
    const bool over_left =
        right == ClusterList::kNone ||
        (left != ClusterList::kNone && clusters.valley_height(left) >= clusters.valley_height(c));
    const std::size_t keeper = over_left ? left : c;
    clusters.merge_right(keeper);
    queue.emplace(clusters.samples(keeper), keeper);
  }
  clusters.write(e);
}

void prune_valleys(DensityExtrema& e, std::span<const double> sorted, double max_ratio, double min_share) {
  remove_by_ratio(e, [&](double ratio, std::size_t) { return ratio > max_ratio; });
  merge_small_clusters(e, sorted, min_share);
}

void keep_prominent_valleys(DensityExtrema& e, std::size_t count) {
  remove_by_ratio(e, [&](double, std::size_t left) { return left > count; });
}

}  // namespace offramp::stats
