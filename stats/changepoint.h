// Exact offline Bayesian changepoint detection (Fearnhead's recursion, specs/extraction.md 2.3) for data
// y_0..y_{n-1} that are normal within a segment, with a normal-inverse-gamma prior on mean and variance.
// O(n^2) segment evidences. The usual early stop ("the summand is e^-40 below the sum") loses tens of nats on
// sorted data, where summands are not monotone in the segment's end; what is skipped here is skipped by a
// proven bound (EvidenceTiles::bound). Same bits for any thread count.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace offramp::stats {

struct NormalGammaPrior {
  double mu0 = 0, k0 = 1, a0 = 1, b0 = 1;  // k0, a0, b0 > 0; b0 in squared units of the data
};

// log p(y | one segment): lgamma(an) - lgamma(a0) + a0 ln b0 - an ln bn + (ln k0 - ln kn)/2 - (m/2) ln 2 pi.
double log_segment_evidence(std::span<const double> y, const NormalGammaPrior& prior);

// Prior of a segment length l: log_mass[l] = ln g(l) for l = 1..n (entry 0 unused by the recursion), and
// log_survival[m] = ln(1 - G(m)), the last segment's factor when m points lie before its last one.
struct LengthPrior {
  std::vector<double> log_mass, log_survival;

  // g(l) = 1/(n+1) for l = 0..n-1, the customary constant; G(m) = (m+1)/(n+1).
  static LengthPrior constant(std::size_t n);
  // g(l) = p (1-p)^(l-1), G(m) = 1 - (1-p)^m; 0 < p < 1.
  static LengthPrior geometric(std::size_t n, double p);
};

struct ChangepointOptions {
  unsigned threads = 0;              // 0: all
  std::size_t max_points = 1 << 20;  // beyond it O(n^2) takes many minutes: ValueError
  // Leave out tiles whose every term is proven to lie 100 bits below its sum (or below the maximum, for the
  // MAP segmentation, which stays the same in every bit): ln Q moves by less than n^2 2^-100. Pays on sorted
  // data.
  bool prune = true;
  std::size_t* visited_pairs =
      nullptr;  // raised by the pairs (start, end) that were evaluated, of n (n + 1) / 2
};

struct ChangepointPosterior {
  double log_evidence = 0;    // ln Q(0)
  std::vector<double> log_q;  // ln Q(t), t = 0..n-1
  std::vector<double> at;     // [n-1] probability that a segment ends with point i
  double expected_count = 0;  // of changepoints: the sum of `at`
};

// ln Q(t) for all t: Q(t) = sum_{s=t..n-2} P(t,s) Q(s+1) g(s+1-t) + P(t,n-1) (1 - G(n-1-t)).
std::vector<double> changepoint_log_q(std::span<const double> y,
                                      const NormalGammaPrior& prior,
                                      const LengthPrior& length,
                                      const ChangepointOptions& options = {});

// Evidence and the marginal probability of each place (one backward and one forward pass).
ChangepointPosterior changepoint_posterior(std::span<const double> y,
                                           const NormalGammaPrior& prior,
                                           const LengthPrior& length,
                                           const ChangepointOptions& options = {});

// Probability of 0, 1, .., max_count changepoints. The rest, 1 - sum, belongs to larger counts.
std::vector<double> changepoint_count_posterior(std::span<const double> y,
                                                const NormalGammaPrior& prior,
                                                const LengthPrior& length,
                                                std::size_t max_count,
                                                const ChangepointOptions& options = {});

struct MapSegmentation {
  double log_joint = 0;             // ln of the largest summand of Q(0)
  std::vector<std::size_t> starts;  // first index of each segment, starts[0] = 0
};

// The most probable segmentation; of equals the one whose first segments are shorter.
MapSegmentation map_segmentation(std::span<const double> y,
                                 const NormalGammaPrior& prior,
                                 const LengthPrior& length,
                                 const ChangepointOptions& options = {});

}  // namespace offramp::stats
