// One-dimensional Gaussian kernel density estimates (specs/extraction.md 2.2, step 1):
//   f(x) = 1/(n h) sum_i phi((x - t_i)/h),  phi(u) = exp(-u^2/2)/sqrt(2 pi).
// Three evaluations of the same sum: direct (every pair), truncated (sorted sample, only kernels that matter)
// and binned (moments per cell). Errors are bounded relative to the peak of f. Same bits for any thread
// count.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace offramp::stats {

class WorkerPool;

// Evaluates BinnedDensity(sample, bandwidth, cell_width, reach) at the points; what a device can do instead.
using DensityFunction = std::function<std::vector<double>(std::span<const double> sample,
                                                          std::span<const double> points,
                                                          double bandwidth,
                                                          double cell_width,
                                                          double reach)>;

// f at every point; n * points exponentials. ValueError: empty or non-finite sample, non-finite points,
// bandwidth not positive and finite. threads 0: all.
std::vector<double> kde_direct(std::span<const double> sample,
                               std::span<const double> points,
                               double bandwidth,
                               unsigned threads = 0);

// As kde_direct for an ascending sample (ValueError otherwise); kernels further than c h are dropped, where
// 2 exp(-c^2/2) = tolerance. Error <= tolerance * max f: a dropped phi(u), u > c, is at most
// exp(-c^2/2) phi(u - c), and those sum to exp(-c^2/2) f(x - c h).
std::vector<double> kde_truncated(std::span<const double> sorted_sample,
                                  std::span<const double> points,
                                  double bandwidth,
                                  double tolerance = 1e-9,
                                  unsigned threads = 0);

// As kde_direct through BinnedDensity; falls back to sorting and kde_truncated when the range holds more
// cells than fit (2^20). Error <= tolerance * max f either way.
std::vector<double> kde_binned(std::span<const double> sample,
                               std::span<const double> points,
                               double bandwidth,
                               double tolerance = 1e-6,
                               unsigned threads = 0);

// The sample reduced to cells of width w; each keeps M_k = sum d^k, k = 0..3, d the distance to its centre in
// h. phi(u - d) = phi(u) sum_k He_k(u) d^k / k!, cut after k = 3. The rest is at most d^4/24 max |phi''''|,
// and |phi''''(v)| is dominated by 5.5 neighbouring kernels (tested), so the error is <= (w/2h)^4 / 4 of the
// peak.
class BinnedDensity {
 public:
  // True if the range of the sample needs at most 2^20 cells at this tolerance.
  static bool fits(double range, double bandwidth, double tolerance);

  // Sample in any order, one pass; half of the tolerance goes to the cells, half to truncation.
  // ValueError as kde_direct, and when the sample does not fit.
  BinnedDensity(std::span<const double> sample, double bandwidth, double tolerance, unsigned threads = 1);

  // With the two sizes given instead: cells of `cell_width`, kernels cut off at `reach` bandwidths. The error
  // of a kernel at u = |x - t|/h is (u w/2h)^4/24 of itself, so that small cells keep even far tails
  // relatively right.
  BinnedDensity(
      std::span<const double> sample, double bandwidth, double cell_width, double reach, unsigned threads);

  double operator()(double x) const;
  void evaluate(std::span<const double> points, std::span<double> out, unsigned threads = 1) const;

  double bandwidth() const { return bandwidth_; }
  double cell_width() const { return width_; }
  std::size_t cells() const { return cells_; }

 private:
  friend std::vector<double> kde_binned(
      std::span<const double>, std::span<const double>, double, double, unsigned);
  BinnedDensity(double bandwidth, double cell_width, double reach)
      : bandwidth_(bandwidth), width_(cell_width), cut_(reach) {}
  void fill(std::span<const double> sample, double low, double high, WorkerPool& pool);

  double bandwidth_, width_, low_ = 0, cut_, scale_ = 0;
  std::size_t cells_ = 0;
  std::vector<double> moments_[4];  // M_k / k!, padded to whole vectors with zeros
};

// Half width, in bandwidths, of a kernel cut off so that at most `tolerance` of the peak is lost.
double kernel_reach(double tolerance);

}  // namespace offramp::stats
