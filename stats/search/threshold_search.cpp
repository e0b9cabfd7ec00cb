#include "stats/search/threshold_search.h"

#include <chrono>
#include <cmath>
#include <random>
#include <string>

#include "stats/checks.h"
#include "stats/search/threshold_branch_bound.h"
#include "stats/search/threshold_problem.h"
#include "stats/search/threshold_separable.h"

namespace offramp::stats {
namespace {

using search::Point;
using search::Problem;
using Clock = std::chrono::steady_clock;

constexpr double kLargestInteger = 1 << 29;  // total weight that the integer search may hold

void check(const SearchSamples& s) {
  const std::string what = "search_thresholds: ";
  if (s.exits.empty()) {
    throw DataError(what + "at least one sample is needed, got none");
  }
  if (s.num_exits < 2 || s.num_exits > 32) {
    throw DataError(what + "the number of exits must lie in 2..32, got " + std::to_string(s.num_exits));
  }
  if (s.exits.size() > 0x7ffffffe) {
    throw DataError(what + "at most 2^31 - 2 samples, got " + std::to_string(s.exits.size()));
  }
  if (s.confidences.size() != s.exits.size() * s.num_exits) {
    throw DataError(what + "confidences must hold samples x exits = " + std::to_string(s.exits.size()) +
                    " x " + std::to_string(s.num_exits) + " values, got " +
                    std::to_string(s.confidences.size()));
  }
  if (!s.weights.empty() && s.weights.size() != s.exits.size()) {
    throw DataError(what + "weights must be empty or one per sample (" + std::to_string(s.exits.size()) +
                    "), got " + std::to_string(s.weights.size()));
  }
  for (std::size_t i = 0; i < s.exits.size(); ++i) {
    if (s.exits[i] < 1 || s.exits[i] > static_cast<int>(s.num_exits)) {
      throw DataError(what + "exits must lie in 1.." + std::to_string(s.num_exits) + ", got " +
                      std::to_string(s.exits[i]) + " at sample " + std::to_string(i));
    }
    for (std::size_t k = 0; k + 1 < s.num_exits; ++k) {
      if (!std::isfinite(s.confidences[i * s.num_exits + k])) {
        throw DataError(what + "confidences must be finite, got " +
                        to_text(s.confidences[i * s.num_exits + k]) + " at sample " + std::to_string(i) +
                        ", exit " + std::to_string(k + 1));
      }
    }
    if (!s.weights.empty() && !(s.weights[i] >= 0 && std::isfinite(s.weights[i]))) {
      throw DataError(what + "weights must be finite and not negative, got " + to_text(s.weights[i]) +
                      " at sample " + std::to_string(i));
    }
  }
}

bool integer_weights(const SearchSamples& s) {
  if (s.weights.empty()) {
    return static_cast<double>(s.exits.size()) <= kLargestInteger;
  }
  double total = 0;
  for (const double w : s.weights) {
    if (w != std::floor(w)) {
      return false;
    }
    total += w;
  }
  return total <= kLargestInteger;
}

// Coordinate ascent from every quantile of the candidates at once and from random points; the best end point.
// Few starts at large n, where one is almost always optimal (design/performance.md E2), more at small n.
template <class Number>
Point best_start(const Problem<Number>& problem, std::size_t samples, WorkerPool& pool) {
  const std::size_t count = samples > 20000 ? 4 : 16;
  std::vector<Point> starts;
  std::mt19937_64 rng(1);
  for (std::size_t i = 0; i < count; ++i) {
    Point t;
    for (std::size_t k = 0; k < problem.dimensions; ++k) {
      const std::size_t c = problem.candidates(k);
      const std::size_t at =
          i < count / 2 ? c * (i + 1) / (count / 2 + 1) : static_cast<std::size_t>(rng() % c);
      t.push_back(static_cast<std::uint32_t>(std::min(at, c - 1)));
    }
    starts.push_back(std::move(t));
  }
  std::vector<Number> value(count);
  pool.run(count, [&](std::size_t i) { value[i] = search::ascend_coordinates(problem, starts[i]); });
  return starts[static_cast<std::size_t>(std::max_element(value.begin(), value.end()) - value.begin())];
}

RankedProblem ranked(const Problem<std::int32_t>& problem) {
  RankedProblem r;
  for (std::size_t k = 0; k < problem.dimensions; ++k) {
    r.candidates.push_back(static_cast<std::uint32_t>(problem.candidates(k)));
    for (const auto& group : problem.groups) {
      if (k < group.position.size()) {
        r.position.insert(r.position.end(), group.position[k].begin(), group.position[k].end());
      } else {
        r.position.resize(r.position.size() + group.weight.size(), 0);
      }
    }
  }
  for (std::size_t e = 0; e < problem.groups.size(); ++e) {
    r.weight.insert(r.weight.end(), problem.groups[e].weight.begin(), problem.groups[e].weight.end());
    r.exit.resize(r.weight.size(), static_cast<std::int32_t>(e));
  }
  return r;
}

template <class Number>
SearchResult search_joint(const SearchSamples& s, const SearchOptions& o, Clock::time_point deadline) {
  WorkerPool pool(o.threads);
  const Problem<Number> problem(s, pool);
  SearchResult r;
  Point t(problem.dimensions, 0);
  double bound = 0;
  r.optimal = true;
  if (o.solver) {
    if constexpr (std::is_same_v<Number, std::int32_t>) {
      RankedProblem problem_in_ranks = ranked(problem);
      problem_in_ranks.start = best_start(problem, s.exits.size(), pool);
      problem_in_ranks.time_limit_s = o.time_limit_s;
      const RankedOptimum found = o.solver(problem_in_ranks);
      t = found.point;
      bound = found.upper_bound;
      r.optimal = found.optimal;
      r.nodes = found.nodes;
    } else {
      throw ValueError("search_thresholds: a solver wants integer weights that sum to less than 2^31");
    }
  } else if (problem.dimensions == 1) {
    bound = static_cast<double>(problem.improve(t, 0));
  } else if (problem.dimensions == 2) {
    bound = static_cast<double>(problem.improve_pair(t, 0, 1));
  } else {
    const auto found =
        search::branch_and_bound(problem, best_start(problem, s.exits.size(), pool), deadline, pool);
    t = found.best;
    bound = found.upper_bound;
    r.optimal = found.optimal;
    r.nodes = found.nodes;
  }
  for (std::size_t k = 0; k < problem.dimensions; ++k) {
    r.thresholds.push_back(problem.threshold[k][t[k]]);
  }
  r.value = joint_value(s, r.thresholds);
  r.upper_bound = std::max(bound, r.value);
  r.time_limit_reached = !r.optimal;
  return r;
}

}  // namespace

std::size_t exit_under(std::span<const double> confidences, std::span<const double> thresholds) {
  std::size_t k = 0;
  while (k < thresholds.size() && !(confidences[k] > thresholds[k])) {
    ++k;
  }
  return k + 1;
}

double joint_value(const SearchSamples& s, std::span<const double> thresholds) {
  check(s);
  require_same_size(thresholds.size() + 1, "thresholds + 1", s.num_exits, "exits", "joint_value");
  require_finite(thresholds, "joint_value", "thresholds");
  double sum = 0;
  for (std::size_t i = 0; i < s.exits.size(); ++i) {
    const auto row = s.confidences.subspan(i * s.num_exits, s.num_exits);
    if (exit_under(row, thresholds) == static_cast<std::size_t>(s.exits[i])) {
      sum += s.weights.empty() ? 1.0 : s.weights[i];
    }
  }
  return sum;
}

double separable_value(const SearchSamples& s, std::span<const double> thresholds, SeparableOthers others) {
  check(s);
  require_same_size(thresholds.size() + 1, "thresholds + 1", s.num_exits, "exits", "separable_value");
  require_finite(thresholds, "separable_value", "thresholds");
  double sum = 0;
  for (std::size_t i = 0; i < s.exits.size(); ++i) {
    for (std::size_t k = 0; k < thresholds.size(); ++k) {
      const int exit = static_cast<int>(k) + 1;
      if (s.exits[i] < exit && others == SeparableOthers::kRemaining) {
        continue;
      }
      const bool leaves = s.confidences[i * s.num_exits + k] > thresholds[k];
      if (leaves == (s.exits[i] == exit)) {
        sum += s.weights.empty() ? 1.0 : s.weights[i];
      }
    }
  }
  return sum;
}

SearchResult search_thresholds(const SearchSamples& s, const SearchOptions& o) {
  const auto begin = Clock::now();
  check(s);
  if (!(o.time_limit_s >= 0)) {
    throw ValueError("search_thresholds: the time limit must not be negative, got " +
                     to_text(o.time_limit_s));
  }
  // Beyond a year a limit is none; the clock's integer would overflow.
  const auto deadline = o.time_limit_s > 3e7 ? Clock::time_point::max()
                                             : begin + std::chrono::duration_cast<Clock::duration>(
                                                           std::chrono::duration<double>(o.time_limit_s));
  SearchResult r;
  if (o.objective == SearchObjective::kSeparable) {
    search::SeparableOptimum best = search::separable_optimum(s, o.others);
    r.thresholds = std::move(best.thresholds);
    r.value = r.upper_bound = best.value;
    r.optimal = true;
  } else {
    r = integer_weights(s) ? search_joint<std::int32_t>(s, o, deadline)
                           : search_joint<double>(s, o, deadline);
  }
  r.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return r;
}

}  // namespace offramp::stats
