#include "stats/kde.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "stats/checks.h"
#include "stats/parallel.h"
#include "stats/simd.h"

namespace offramp::stats {
namespace {

constexpr std::size_t kMaxCells = std::size_t{1} << 20;
constexpr double kLog2e = std::numbers::log2e;
constexpr std::size_t kPointsPerTask = 64;

void check_bandwidth(double h, const char* what) {
  if (!(h > 0) || !std::isfinite(h)) {
    throw ValueError(std::string(what) + ": the bandwidth must be positive and finite, got " + to_text(h));
  }
}

void check_tolerance(double tolerance, const char* what) {
  if (!(tolerance > 0) || !(tolerance < 1)) {
    throw ValueError(std::string(what) + ": the tolerance must lie in (0, 1), got " + to_text(tolerance));
  }
}

// sum_i exp(-((x - t_i)/h)^2 / 2) over n samples.
double kernel_sum(const double* sample, std::size_t n, double x, double inverse_h) {
  const Vec at = splat(x), inv = splat(inverse_h), half = splat(-0.5 * kLog2e);
  Vec sum = splat(0.0);
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec u = (at - load(sample + i)) * inv;
    sum += exp2_below(u * u * half);
  }
  if (i < n) {
    double tail[kLanes];
    std::fill_n(tail, kLanes, 1e300);  // u^2 overflows to infinity, the exponential clamps to 2^-1021
    std::copy(sample + i, sample + n, tail);
    const Vec u = (at - load(tail)) * inv;
    sum += exp2_below(u * u * half);
  }
  return sum_lanes(sum);
}

struct Range {
  double low, high;
};

// Slices of a sample are fixed by its size, not by the thread count.
std::size_t slices_of(std::size_t n) { return n >= (1u << 17) ? 4 : 1; }

// Lowest and highest value of one slice; `bad` is not 0 if some value is NaN or infinite.
Range slice_range(std::span<const double> v, double& bad) {
  Vec low = splat(v[0]), high = splat(v[0]), poison = splat(0.0);
  std::size_t i = 0;
  for (; i + kLanes <= v.size(); i += kLanes) {
    const Vec x = load(v.data() + i);
    low = min(x, low);
    high = max(x, high);
    poison += x - x;
  }
  Range r = {-max_lanes(-low), max_lanes(high)};
  bad = sum_lanes(poison);
  for (; i < v.size(); ++i) {
    r = {std::min(r.low, v[i]), std::max(r.high, v[i])};
    bad += v[i] - v[i];
  }
  return r;
}

Range finite_range(std::span<const double> v, const char* what, WorkerPool& pool) {
  require_some(v, what, "the sample");
  const std::size_t slices = slices_of(v.size());
  std::vector<Range> part(slices);
  std::vector<double> bad(slices);
  pool.run(slices, [&](std::size_t s) {
    const std::size_t begin = v.size() * s / slices, end = v.size() * (s + 1) / slices;
    part[s] = slice_range(v.subspan(begin, end - begin), bad[s]);
  });
  Range r = part[0];
  for (std::size_t s = 0; s < slices; ++s) {
    r = {std::min(r.low, part[s].low), std::max(r.high, part[s].high)};
    if (bad[s] != 0) {  // true for NaN
      require_finite(v, what, "the sample");
    }
  }
  return r;
}

void check_sample(std::span<const double> v, const char* what) {
  WorkerPool alone(1);
  finite_range(v, what, alone);
}

unsigned threads_for(std::size_t n, unsigned threads) { return slices_of(n) == 1 ? 1 : threads; }

template <class F>
void for_points(std::size_t count, unsigned threads, F f) {
  const std::size_t tasks = (count + kPointsPerTask - 1) / kPointsPerTask;
  auto task = [&](std::size_t t) {
    const std::size_t end = std::min(count, (t + 1) * kPointsPerTask);
    for (std::size_t i = t * kPointsPerTask; i < end; ++i) {
      f(i);
    }
  };
  WorkerPool(tasks < 2 ? 1 : threads).run(tasks, task);
}

double cell_width_for(double bandwidth, double tolerance) {
  return 2 * bandwidth * std::pow(4 * tolerance / 2, 0.25);
}

bool fits_cells(double range, double cell_width) {
  return range / cell_width < static_cast<double>(kMaxCells - 2 * kLanes);
}

}  // namespace

double kernel_reach(double tolerance) { return std::sqrt(2 * std::log(2 / tolerance)); }

std::vector<double> kde_direct(std::span<const double> sample,
                               std::span<const double> points,
                               double bandwidth,
                               unsigned threads) {
  check_sample(sample, "kde_direct");
  require_finite(points, "kde_direct", "points");
  check_bandwidth(bandwidth, "kde_direct");
  std::vector<double> f(points.size());
  const double scale =
      std::numbers::inv_sqrtpi / std::numbers::sqrt2 / (static_cast<double>(sample.size()) * bandwidth);
  // A whole vector of tail lanes adds 2^-1021 each; it is far below half a unit of any sum that matters.
  for_points(points.size(), threads, [&](std::size_t i) {
    f[i] = scale * kernel_sum(sample.data(), sample.size(), points[i], 1 / bandwidth);
  });
  return f;
}

std::vector<double> kde_truncated(std::span<const double> sorted_sample,
                                  std::span<const double> points,
                                  double bandwidth,
                                  double tolerance,
                                  unsigned threads) {
  const char* what = "kde_truncated";
  check_sample(sorted_sample, what);
  require_finite(points, what, "points");
  check_bandwidth(bandwidth, what);
  check_tolerance(tolerance, what);
  if (!std::is_sorted(sorted_sample.begin(), sorted_sample.end())) {
    throw ValueError("kde_truncated: the sample must be in ascending order");
  }
  const double reach = kernel_reach(tolerance) * bandwidth;
  const double scale = std::numbers::inv_sqrtpi / std::numbers::sqrt2 /
                       (static_cast<double>(sorted_sample.size()) * bandwidth);
  std::vector<double> f(points.size());
  for_points(points.size(), threads, [&](std::size_t i) {
    const auto first = std::lower_bound(sorted_sample.begin(), sorted_sample.end(), points[i] - reach);
    const auto last = std::upper_bound(first, sorted_sample.end(), points[i] + reach);
    f[i] = scale * kernel_sum(sorted_sample.data() + (first - sorted_sample.begin()),
                              static_cast<std::size_t>(last - first),
                              points[i],
                              1 / bandwidth);
  });
  return f;
}

std::vector<double> kde_binned(std::span<const double> sample,
                               std::span<const double> points,
                               double bandwidth,
                               double tolerance,
                               unsigned threads) {
  const char* what = "kde_binned";
  require_some(sample, what, "the sample");
  check_bandwidth(bandwidth, what);
  check_tolerance(tolerance, what);
  WorkerPool pool(threads_for(sample.size(), threads));
  const Range range = finite_range(sample, what, pool);
  if (!BinnedDensity::fits(range.high - range.low, bandwidth, tolerance)) {
    std::vector<double> sorted(sample.begin(), sample.end());
    std::sort(sorted.begin(), sorted.end());
    return kde_truncated(sorted, points, bandwidth, tolerance, threads);
  }
  require_finite(points, what, "points");
  std::vector<double> f(points.size());
  BinnedDensity density(bandwidth, cell_width_for(bandwidth, tolerance), kernel_reach(tolerance / 2));
  density.fill(sample, range.low, range.high, pool);
  density.evaluate(points, f, threads);
  return f;
}

bool BinnedDensity::fits(double range, double bandwidth, double tolerance) {
  return fits_cells(range, cell_width_for(bandwidth, tolerance));
}

BinnedDensity::BinnedDensity(std::span<const double> sample,
                             double bandwidth,
                             double tolerance,
                             unsigned threads)
    : BinnedDensity(sample,
                    bandwidth,
                    (check_tolerance(tolerance, "BinnedDensity"), cell_width_for(bandwidth, tolerance)),
                    kernel_reach(tolerance / 2),
                    threads) {}

BinnedDensity::BinnedDensity(
    std::span<const double> sample, double bandwidth, double cell_width, double reach, unsigned threads)
    : BinnedDensity(bandwidth, cell_width, reach) {
  const char* what = "BinnedDensity";
  check_bandwidth(bandwidth, what);
  WorkerPool pool(threads_for(sample.size(), threads));
  const Range range = finite_range(sample, what, pool);
  if (!fits_cells(range.high - range.low, cell_width)) {
    throw ValueError("BinnedDensity: the sample spans " + to_text((range.high - range.low) / bandwidth) +
                     " bandwidths, more than 2^20 cells of " + to_text(cell_width / bandwidth) +
                     " bandwidths");
  }
  fill(sample, range.low, range.high, pool);
}

void BinnedDensity::fill(std::span<const double> sample, double low, double high, WorkerPool& pool) {
  low_ = low;
  scale_ = std::numbers::inv_sqrtpi / std::numbers::sqrt2 / (static_cast<double>(sample.size()) * bandwidth_);
  cells_ =
      static_cast<std::size_t>((high - low) / width_) + 2;  // rounding may put the largest one cell further
  // Two copies a slice, taken in turn, keep neighbouring equal samples from waiting for each other's store.
  typedef double Cell __attribute__((vector_size(32)));
  constexpr std::size_t kCopies = 2;
  const std::size_t slices = slices_of(sample.size());
  std::vector<Cell> histogram(slices * kCopies * cells_, Cell{0, 0, 0, 0});
  pool.run(slices, [&](std::size_t slice) {
    Cell* const cells = histogram.data() + slice * kCopies * cells_;
    const std::size_t begin = sample.size() * slice / slices, end = sample.size() * (slice + 1) / slices;
    const double inverse = 1 / width_;
    const Cell ones = {1, 1, 1, 1}, mask1 = {0, 1, 1, 1}, mask2 = {0, 0, 1, 1}, mask3 = {0, 0, 0, 1};
    const auto add = [=](Cell* copy, double position) {
      // (1, d, d^2, d^3) as a product of three vectors of 1 and d = 1 + (d - 1): no shuffles
      const auto index = static_cast<std::int32_t>(position);
      const double e = position - static_cast<double>(index) - 1.5;
      const Cell d = {e, e, e, e};
      copy[index] += (d * mask1 + ones) * (d * mask2 + ones) * (d * mask3 + ones);
    };
    std::size_t i = begin;
    for (; i + 2 <= end; i += 2) {
      add(cells, (sample[i] - low) * inverse);
      add(cells + cells_, (sample[i + 1] - low) * inverse);
    }
    if (i < end) {
      add(cells, (sample[i] - low) * inverse);
    }
  });
  const double w = width_ / bandwidth_;
  const double factor[4] = {1, w, w * w / 2, w * w * w / 6};
  for (std::size_t k = 0; k < 4; ++k) {
    moments_[k].assign(cells_ + kLanes, 0.0);
  }
  for (std::size_t c = 0; c < cells_; ++c) {
    Cell sum = histogram[c];
    for (std::size_t copy = 1; copy < slices * kCopies; ++copy) {
      sum += histogram[copy * cells_ + c];
    }
    for (std::size_t k = 0; k < 4; ++k) {
      moments_[k][c] = sum[k] * factor[k];
    }
  }
}

double BinnedDensity::operator()(double x) const {
  const double position = (x - low_) / width_, reach = cut_ * bandwidth_ / width_;
  const double last_cell = static_cast<double>(cells_) - 1;
  if (position + reach < 0 || position - reach > last_cell + 1) {
    return 0;
  }
  const auto first = static_cast<std::size_t>(std::max(0.0, std::floor(position - reach)));
  const auto last = static_cast<std::size_t>(std::clamp(std::floor(position + reach), 0.0, last_cell));
  const double step = width_ / bandwidth_;
  const Vec lane = {0, 1, 2, 3, 4, 5, 6, 7};
  const Vec half = splat(-0.5 * kLog2e);
  Vec sum = splat(0.0);
  for (std::size_t c = first; c <= last; c += kLanes) {
    // lanes behind `last` are cells of the same sample or padding zeros: adding them only lowers the error
    const Vec u = splat((position - static_cast<double>(c) - 0.5) * step) - lane * splat(step);
    const Vec u2 = u * u;
    const Vec poly = load(&moments_[0][c]) + load(&moments_[1][c]) * u +
                     load(&moments_[2][c]) * (u2 - splat(1.0)) +
                     load(&moments_[3][c]) * u * (u2 - splat(3.0));
    sum += exp2_below(u2 * half) * poly;
  }
  return scale_ * sum_lanes(sum);
}

void BinnedDensity::evaluate(std::span<const double> points, std::span<double> out, unsigned threads) const {
  require_same_size(points.size(), "points", out.size(), "out", "BinnedDensity::evaluate");
  // A point costs a few hundred exponentials; threads pay from a few thousand points on.
  const bool worth =
      points.size() * static_cast<std::size_t>(2 * cut_ * bandwidth_ / width_ + 1) > (1u << 18);
  for_points(points.size(), worth ? threads : 1, [&](std::size_t i) { out[i] = (*this)(points[i]); });
}

}  // namespace offramp::stats
