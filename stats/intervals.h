// Intervals for shares and means, and the percentile bootstrap for everything else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace offramp::stats {

struct Interval {
  double estimate = 0, low = 0, high = 0;
};

// Share of successes with Wilson's score interval. ValueError: trials 0, successes > trials, level outside
// (0, 1).
Interval wilson_interval(std::size_t successes, std::size_t trials, double level = 0.95);
// The same with Clopper and Pearson's exact interval.
Interval exact_interval(std::size_t successes, std::size_t trials, double level = 0.95);
// Mean of two rates that are counted apart, such as balanced accuracy: exact intervals, joined by the squares of their
// arms as Newcombe (1998) joins Wilson's, which of 30 and 30 at .98 hold the mean nine times of ten only.
Interval mean_rate_interval(std::size_t successes_first,
                            std::size_t trials_first,
                            std::size_t successes_second,
                            std::size_t trials_second,
                            double level = 0.95);
// Mean with Student's interval; needs two finite values.
Interval mean_interval(std::span<const double> sample, double level = 0.95);

struct BootstrapOptions {
  std::size_t resamples = 2000;
  double level = 0.95;
  std::uint64_t seed = 1;
  unsigned threads = 0;
};

// statistic(index of each drawn item) over resamples of 0..n-1 with replacement; percentile interval around
// the statistic of the whole. Resample r has its own generator (seed, r): same result for any thread count.
// The statistic is called from several threads at once. ValueError: n 0, no resamples, level outside (0, 1).
Interval bootstrap(std::size_t n,
                   const std::function<double(std::span<const std::size_t>)>& statistic,
                   const BootstrapOptions& options = {});

// Two groups resampled each on its own (members and non-members); indices of the second start again at 0.
Interval bootstrap_two(
    std::size_t n_first,
    std::size_t n_second,
    const std::function<double(std::span<const std::size_t>, std::span<const std::size_t>)>& statistic,
    const BootstrapOptions& options = {});

}  // namespace offramp::stats
