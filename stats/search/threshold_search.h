// Output strategy search (specs/extraction.md 4): thresholds under which a substitute leaves where the victim
// left. A sample leaves at the first exit whose confidence is > threshold, at the last exit otherwise.
//   joint:     maximise J(T) = weight of samples whose first exit under T is the victim's,
//   separable: maximise, exit by exit, the weight on the right side of its threshold.
// Joint optima are exact for every number of exits: one sweep (2), a sweep over a tree of maxima (3), branch
// and bound with a certificate beyond (threshold_branch_bound.h). Same result for any thread count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

namespace offramp::stats {

struct SearchSamples {
  std::span<const double> confidences;   // [n, num_exits] row-major; the last column is never read
  std::span<const int> exits;            // [n] the victim's exit, 1..num_exits
  std::size_t num_exits = 0;             // 2..32
  std::span<const double> weights = {};  // [n] >= 0 and finite, or empty: all 1. Zero: does not count (CLO)
};

enum class SearchObjective { kJoint, kSeparable };

// Which samples of other exits should stay below threshold i of the separable objective.
enum class SeparableOthers {
  kRemaining,  // those that left later; earlier ones never arrive (the default)
  kAll,        // Paper: v2's set B, everything that left elsewhere
};

// The joint problem in ranks, for a solver outside of this room. A sample of exit e (from 0) counts iff
// t_k >= position_k for all k < e and, unless e is the last exit, t_e < position_e.
struct RankedProblem {
  std::vector<std::uint32_t> candidates;   // [dimensions] t_k is one of 0..candidates-1
  std::vector<std::uint32_t> position;     // [dimensions][n], 0..candidates; 0 beyond the sample's exit
  std::vector<std::int32_t> exit, weight;  // [n]
  std::vector<std::uint32_t> start;        // a good point, by coordinate ascent
  double time_limit_s = std::numeric_limits<double>::infinity();
};
struct RankedOptimum {
  std::vector<std::uint32_t> point;
  double upper_bound = 0;
  bool optimal = false;
  std::size_t nodes = 0;
};

struct SearchOptions {
  SearchObjective objective = SearchObjective::kJoint;
  SeparableOthers others = SeparableOthers::kRemaining;
  double time_limit_s = std::numeric_limits<double>::infinity();
  unsigned threads = 0;
  // Solves the joint problem instead of the branch and bound here, e.g. on a device. Wants integer weights.
  std::function<RankedOptimum(const RankedProblem&)> solver = {};
};

struct SearchResult {
  // [num_exits - 1] midway between neighbouring confidences (between adjacent floats the lower one), so that
  // ties never matter and 17 printed digits decide alike; 1 (or the largest confidence) where nobody should
  // leave, 0 (or less than the smallest) where everybody should.
  std::vector<double> thresholds;
  double value = 0;        // of the chosen objective
  double upper_bound = 0;  // no thresholds reach more; equals value when optimal
  bool optimal = false;
  bool time_limit_reached = false;
  double seconds = 0;
  std::size_t nodes = 0;  // of the branch and bound
};

// ValueError: no sample, sizes that do not fit, exits out of 1..num_exits, non-finite confidences, negative
// or non-finite weights, num_exits outside 2..32, more than 2^31 - 2 samples, a negative or NaN time limit, a
// solver with weights that are no integers.
SearchResult search_thresholds(const SearchSamples& samples, const SearchOptions& options = {});

// J(T) by the definition. Same checks; thresholds must hold num_exits - 1 finite values.
double joint_value(const SearchSamples& samples, std::span<const double> thresholds);
// The separable sum by its definition.
double separable_value(const SearchSamples& samples,
                       std::span<const double> thresholds,
                       SeparableOthers others);

// First exit (from 1) with confidence > threshold; confidences and thresholds of one sample.
std::size_t exit_under(std::span<const double> confidences, std::span<const double> thresholds);

}  // namespace offramp::stats
