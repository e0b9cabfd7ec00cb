// Tests for timing claims and the query budget of the noisy channel (specs/membership.md 6.1).
#pragma once

#include <cstddef>
#include <span>

namespace offramp::stats {

// Repetitions after which two means a gap apart differ at the level of |Z| >= z: N = ceil(2 (z sigma /
// gap)^2). Paper: z = 1.96. Clustering single samples needs about 4.7 times more: repetitions_to_cluster.
// ValueError: sigma negative, gap not positive, not finite.
std::size_t repetitions_to_distinguish(double sigma, double gap, double z = 1.96);
// N = ceil(36 (sigma / gap)^2): averaged clusters six deviations apart (specs/extraction.md 2.2).
std::size_t repetitions_to_cluster(double sigma, double gap);

struct TestResult {
  double statistic = 0;
  double p_value = 1;  // two-sided
};

// Number of positive differences a - b; exact binomial, ties dropped. p = 1 when all pairs tie.
TestResult sign_test(std::span<const double> a, std::span<const double> b);
// Sum of ranks of positive differences, zeros dropped, mean ranks for ties. Up to 60 differences the exact null
// distribution over these ranks, tied or not; beyond, the normal approximation with tie and continuity correction.
TestResult wilcoxon_signed_rank(std::span<const double> a, std::span<const double> b);
// Unequal variances, Welch-Satterthwaite degrees of freedom; needs two values a side. Both without spread:
// p = 1 if the means are equal, else 0.
TestResult welch_t_test(std::span<const double> a, std::span<const double> b);

}  // namespace offramp::stats
