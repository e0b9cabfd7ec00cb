// The upper bound of a box: each undecided sample's weight is split into parts, one for each dimension it
// depends on, and every dimension then maximises alone. Any split bounds the joint value from above; the
// subgradient steps of tighten look for the split with the lowest bound (Lagrangian decomposition).
#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>

#include "stats/search/threshold_node.h"

namespace offramp::stats::search {
namespace {

constexpr std::size_t kBlock = 512;
using Counts = std::array<std::int32_t, kBlock>;

// In how many of its dimensions t satisfies each of the samples begin .. begin + count - 1.
template <class Pattern>
void count_satisfied(
    const Pattern& p, const Point& t, std::size_t begin, std::size_t count, Counts& satisfied) {
  std::fill_n(satisfied.begin(), count, 0);
  for (std::size_t j = 0; j < p.dimension.size(); ++j) {
    const std::uint32_t at = t[p.dimension[j]], *const position = p.position[j].data() + begin;
    const std::int32_t flip = p.leaves == static_cast<int>(j) ? 1 : 0;
    for (std::size_t i = 0; i < count; ++i) {
      satisfied[i] += (at >= position[i] ? 1 : 0) ^ flip;
    }
  }
}

}  // namespace

template <class Number>
Number Node<Number>::separable_bound(std::vector<std::vector<Number>>& change, Point& best) const {
  Number total = 0;
  for (auto& c : change) {
    std::fill(c.begin(), c.end(), Number{0});
  }
  for (const Pattern& p : patterns_) {
    for (std::size_t j = 0; j < p.dimension.size(); ++j) {
      Number* const c = change[p.dimension[j]].data();
      const std::uint32_t* const at = p.position[j].data();
      const Number* const part = p.part[j].data();
      const std::size_t n = p.weight.size();
      if (p.leaves == static_cast<int>(j)) {
        Number sum = 0;
        for (std::size_t i = 0; i < n; ++i) {
          c[at[i]] -= part[i];
          sum += part[i];
        }
        total += sum;
      } else {
        for (std::size_t i = 0; i < n; ++i) {
          c[at[i]] += part[i];
        }
      }
    }
  }
  for (std::size_t d = 0; d < fixed_.size(); ++d) {
    Number sum = 0, most = 0;
    for (std::size_t c = 0; c < fixed_[d].size(); ++c) {
      sum += change[d][c];
      const Number here = fixed_[d][c] + sum;
      if (c == 0 || here > most) {
        most = here;
        best[d] = static_cast<std::uint32_t>(c);
      }
    }
    total += most;
  }
  return total;
}

template <class Number>
Number Node<Number>::joint_value(const Point& t, double& torn) const {
  Number value = 0;
  torn = 0;
  Counts satisfied;
  for (std::size_t d = 0; d < fixed_.size(); ++d) {
    value += fixed_[d][t[d]];
  }
  for (const Pattern& p : patterns_) {
    const auto m = static_cast<std::int32_t>(p.dimension.size());
    for (std::size_t begin = 0; begin < p.weight.size(); begin += kBlock) {
      const std::size_t count = std::min(kBlock, p.weight.size() - begin);
      count_satisfied(p, t, begin, count, satisfied);
      std::int32_t pairs = 0;  // of one satisfied and one violated dimension
      Number all = 0;
      for (std::size_t i = 0; i < count; ++i) {
        all += satisfied[i] == m ? p.weight[begin + i] : Number{0};
        pairs += satisfied[i] * (m - satisfied[i]);
      }
      value += all;
      torn += static_cast<double>(pairs) / static_cast<double>(m);
    }
  }
  return value;
}

// Weight flows from the satisfied to the violated dimensions of each sample.
template <class Number>
void Node<Number>::shift_parts(const Point& t, double length) {
  using Real = std::conditional_t<std::is_integral_v<Number>, float, double>;
  constexpr double least = std::is_integral_v<Number> ? 1 : 0;  // a step of no unit would stand still
  Counts satisfied;
  for (Pattern& p : patterns_) {
    const std::size_t m = p.dimension.size();
    std::array<Number, 33> take;
    std::array<Number, kBlock> pool;
    for (std::size_t s = 0; s <= m; ++s) {
      const double share = length * static_cast<double>(m - s) / static_cast<double>(m);
      take[s] = s == m ? Number{0} : static_cast<Number>(std::clamp(share, 1e-9 + least, 1e9));
    }
    for (std::size_t begin = 0; begin < p.weight.size(); begin += kBlock) {
      const std::size_t count = std::min(kBlock, p.weight.size() - begin);
      count_satisfied(p, t, begin, count, satisfied);
      std::fill_n(pool.begin(), count, Number{0});
      for (std::size_t j = 0; j < m; ++j) {
        const std::uint32_t at = t[p.dimension[j]], *const position = p.position[j].data() + begin;
        Number* const part = p.part[j].data() + begin;
        const bool flip = p.leaves == static_cast<int>(j);
        for (std::size_t i = 0; i < count; ++i) {
          const Number move = (at >= position[i]) != flip
                                  ? std::min(part[i], take[static_cast<std::size_t>(satisfied[i])])
                                  : Number{0};
          part[i] -= move;
          pool[i] += move;
        }
      }
      for (std::size_t j = 0; j < m; ++j) {
        const std::uint32_t at = t[p.dimension[j]], *const position = p.position[j].data() + begin;
        Number* const part = p.part[j].data() + begin;
        const bool flip = p.leaves == static_cast<int>(j);
        for (std::size_t i = 0; i < count; ++i) {
          // The last violated dimension gets what is left, so that parts always sum to the weight.
          const bool violated = (at >= position[i]) == flip;
          const std::int32_t left = static_cast<std::int32_t>(m) - satisfied[i];
          const auto even = static_cast<Number>(static_cast<Real>(pool[i]) / static_cast<Real>(left));
          const Number give = violated ? (left <= 1 ? pool[i] : even) : Number{0};
          part[i] += give;
          pool[i] -= give;
          satisfied[i] += violated ? 1 : 0;
        }
      }
    }
  }
}

template <class Number>
Number Node<Number>::tighten(int steps, Number enough, Point& point, Number& value) {
  Number bound = std::numeric_limits<Number>::max();
  value = -1;
  std::vector<std::vector<Number>> change(fixed_.size());
  for (std::size_t d = 0; d < fixed_.size(); ++d) {
    change[d].resize(fixed_[d].size() + 1);
  }
  Point t(fixed_.size());
  for (int step = 0; step < steps; ++step) {
    const Number total = separable_bound(change, t);
    bound = std::min(bound, total);
    if (bound <= enough) {
      return bound;
    }
    double torn;
    const Number joint = joint_value(t, torn);
    if (joint > value) {
      value = joint;
      point = origin_of(t);
    }
    if (torn == 0 || step + 1 == steps) {
      break;  // nothing is torn: the bound is attained
    }
    // Polyak's step length towards `enough`.
    shift_parts(t, static_cast<double>(total - enough) / torn);
  }
  return bound;
}

template std::int32_t Node<std::int32_t>::tighten(int, std::int32_t, Point&, std::int32_t&);
template double Node<double>::tighten(int, double, Point&, double&);

}  // namespace offramp::stats::search
