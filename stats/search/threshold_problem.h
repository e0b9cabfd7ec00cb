// The joint objective in ranks, private to the threshold search. Number = std::int32_t for integer weights
// (exact) or double. Dimension k is exit k's threshold; a candidate index t_k counts upward through the
// values worth trying. A sample of exit e (from 0) is counted iff t_k >= p_k for all k < e and, if e is not
// the last, t_e < p_e, with positions p in 0..candidates: each sample is an orthant box, the problem the
// deepest point of n boxes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "stats/parallel.h"
#include "stats/search/threshold_search.h"

namespace offramp::stats::search {

using Point = std::vector<std::uint32_t>;  // candidate index per dimension

// A threshold between two neighbouring confidences: midway, the lower one if nothing lies between.
inline double between(double low, double high) {
  const double middle = low + (high - low) / 2;
  return middle > low && middle < high ? middle : low;
}
inline double above_all(double largest) { return std::max(1.0, largest); }
inline double below_all(double smallest) {
  return smallest > 0 ? 0.0 : smallest - 0.5 * std::max(1.0, -smallest);
}

template <class Number>
struct Problem {
  struct Group {  // samples of one exit
    std::vector<Number> weight;
    std::vector<std::vector<std::uint32_t>> position;  // [bound dimensions][samples]
  };

  std::size_t dimensions = 0;
  std::vector<Group> groups;                   // [num_exits]
  std::vector<std::vector<double>> threshold;  // [dimension][candidate]
  Number total = 0;

  // Sums in another order may differ by this much: only more counts as a gain. Integers are exact.
  Number rounding() const {
    return std::is_integral_v<Number> ? Number{0} : static_cast<Number>(1e-11 * static_cast<double>(total));
  }
  std::size_t candidates(std::size_t k) const { return threshold[k].size(); }
  // Dimensions that bind samples of exit e: 0..e, or all for the last exit.
  std::size_t bound(std::size_t e) const { return std::min(e + 1, dimensions); }
  // In dimension e < last a sample must leave (t < p); in those before it must stay (t >= p).
  static bool leaves(std::size_t e, std::size_t k) { return e == k; }

  Problem(const SearchSamples& s, WorkerPool& pool);

  Number value(const Point& t) const;
  // The best candidate of dimension k with the others fixed; keeps t[k] when nothing is better. Returns the
  // value.
  Number improve(Point& t, std::size_t k) const;
  // The same for two dimensions at once, a < b: sweep over a, tree of maxima over b.
  Number improve_pair(Point& t, std::size_t a, std::size_t b) const;

 private:
  void rank(const SearchSamples& s, std::size_t k);
  // f(group e, sample i) for samples whose dimensions other than a and b are satisfied.
  template <class F>
  void for_free(const Point& t, std::size_t a, std::size_t b, F f) const;
};

// Largest prefix sum of a sequence under point updates; of equals the first.
template <class Number>
class PrefixMaximum {
 public:
  explicit PrefixMaximum(std::size_t size) {
    while (leaves_ < size) {
      leaves_ *= 2;
    }
    sum_.assign(2 * leaves_, Number{0});
    best_.assign(2 * leaves_, Number{0});
  }  // leaves beyond `size` repeat the last sum and lose every tie
  void add(std::size_t at, Number change) {
    std::size_t node = leaves_ + at;
    sum_[node] += change;
    best_[node] = sum_[node];
    for (node /= 2; node > 0; node /= 2) {
      pull(node);
    }
  }
  Number best() const { return best_[1]; }
  std::size_t where() const {
    std::size_t node = 1;
    while (node < leaves_) {
      node = 2 * node + (best_[node] == best_[2 * node] ? 0 : 1);
    }
    return node - leaves_;
  }

 private:
  void pull(std::size_t node) {
    sum_[node] = sum_[2 * node] + sum_[2 * node + 1];
    best_[node] = std::max(best_[2 * node], static_cast<Number>(sum_[2 * node] + best_[2 * node + 1]));
  }
  std::size_t leaves_ = 1;
  std::vector<Number> sum_, best_;
};

}  // namespace offramp::stats::search
