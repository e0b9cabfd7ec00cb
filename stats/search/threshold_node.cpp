#include "stats/search/threshold_node.h"

#include <type_traits>

namespace offramp::stats::search {

template <class Number>
Number Node<Number>::scale_for(Number total) {
  if constexpr (std::is_integral_v<Number>) {
    Number scale = 1;  // total * scale stays below 2^30; 2^12 parts of a sample are fine enough
    while (scale < (1 << 12) && static_cast<std::int64_t>(total) * scale * 2 < (std::int64_t{1} << 30)) {
      scale *= 2;
    }
    return scale;
  } else {
    return 1;
  }
}

template <class Number>
Node<Number> Node<Number>::root(const Problem<Number>& problem, Number scale) {
  Node node;
  for (std::size_t k = 0; k < problem.dimensions; ++k) {
    node.fixed_.emplace_back(problem.candidates(k), Number{0});
    node.slab_.emplace_back(problem.candidates(k) + 1, Number{0});
    node.origin_.emplace_back(problem.candidates(k));
    for (std::size_t c = 0; c < problem.candidates(k); ++c) {
      node.origin_[k][c] = static_cast<std::uint32_t>(c);
    }
  }
  for (std::size_t e = 0; e < problem.groups.size(); ++e) {
    const auto& g = problem.groups[e];
    const std::size_t m = g.position.size();
    if (m == 1) {
      for (std::size_t i = 0; i < g.weight.size(); ++i) {
        node.add_slab(0, Problem<Number>::leaves(e, 0), g.position[0][i], g.weight[i] * scale);
      }
      continue;
    }
    Pattern p;
    for (std::size_t k = 0; k < m; ++k) {
      p.dimension.push_back(static_cast<std::uint8_t>(k));
    }
    p.leaves = e < problem.dimensions ? static_cast<int>(e) : -1;
    p.position = g.position;
    p.weight = g.weight;
    for (Number& w : p.weight) {
      w *= scale;
    }
    p.part.assign(m, p.weight);
    for (std::size_t i = 0; i < p.weight.size(); ++i) {
      for (std::size_t j = 0; j < m; ++j) {
        p.part[j][i] = p.weight[i] / static_cast<Number>(m);
      }
      p.part[0][i] = p.weight[i] - p.part[1][i] * static_cast<Number>(m - 1);
    }
    node.patterns_.push_back(std::move(p));
  }
  // Samples that no candidate of some dimension can change are decided there.
  for (std::size_t k = 0; k < problem.dimensions; ++k) {
    node.restrict_dimension(k, 0, static_cast<std::uint32_t>(problem.candidates(k)));
  }
  node.settle();
  return node;
}

template <class Number>
void Node<Number>::add_slab(std::size_t d, bool leaves, std::uint32_t position, Number weight) {
  if (leaves) {
    slab_[d][0] += weight;
    slab_[d][position] -= weight;
  } else {
    slab_[d][position] += weight;
  }
}

template <class Number>
typename Node<Number>::Pattern& Node<Number>::pattern_like(const std::vector<std::uint8_t>& dimension,
                                                           int leaves) {
  for (Pattern& p : patterns_) {
    if (p.leaves == leaves && p.dimension == dimension) {
      return p;
    }
  }
  Pattern p;
  p.dimension = dimension;
  p.leaves = leaves;
  p.position.resize(dimension.size());
  p.part.resize(dimension.size());
  patterns_.push_back(std::move(p));
  return patterns_.back();
}

// Keeps coordinates low..high-1 of dimension d. A sample that stays from position p on is satisfied if p <=
// low and lost if p >= high; one that leaves below p is lost if p <= low and satisfied if p >= high.
template <class Number>
void Node<Number>::restrict_dimension(std::size_t d, std::uint32_t low, std::uint32_t high) {
  const auto cut = [&](auto& v) {
    v.erase(v.begin() + high, v.end());
    v.erase(v.begin(), v.begin() + low);
  };
  cut(fixed_[d]);
  cut(origin_[d]);
  slab_[d].resize(high - low + 1);  // holds slabs only at the root, where nothing is cut
  std::vector<Pattern> before = std::move(patterns_);
  patterns_.clear();
  // Patterns without d first: the others may be merged into them.
  const auto slot_of = [&](const Pattern& p) {
    return static_cast<std::size_t>(std::find(p.dimension.begin(), p.dimension.end(), d) -
                                    p.dimension.begin());
  };
  for (Pattern& p : before) {
    if (slot_of(p) == p.dimension.size()) {
      patterns_.push_back(std::move(p));
    }
  }
  for (Pattern& p : before) {
    if (p.dimension.empty() || slot_of(p) == p.dimension.size()) {
      continue;
    }
    const std::size_t slot = slot_of(p), m = p.dimension.size();
    const bool d_leaves = p.leaves == static_cast<int>(slot);
    std::vector<std::uint8_t> rest = p.dimension;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(slot));
    const int rest_leaves = d_leaves ? -1 : p.leaves > static_cast<int>(slot) ? p.leaves - 1 : p.leaves;
    Pattern* to = nullptr;
    std::size_t kept = 0;
    const auto& position = p.position[slot];
    for (std::size_t i = 0; i < position.size(); ++i) {
      const bool at_low = position[i] <= low, at_high = position[i] >= high;
      if (!at_low && !at_high) {
        for (std::size_t j = 0; j < m; ++j) {
          p.position[j][kept] = p.position[j][i];
          p.part[j][kept] = p.part[j][i];
        }
        p.position[slot][kept] -= low;
        p.weight[kept] = p.weight[i];
        ++kept;
        continue;
      }
      if (at_low == d_leaves) {
        continue;  // lost
      }
      if (m == 2) {
        add_slab(rest[0], rest_leaves == 0, p.position[1 - slot][i], p.weight[i]);
        continue;
      }
      if (to == nullptr) {
        to = &pattern_like(rest, rest_leaves);
      }
      const Number freed = p.part[slot][i], share = freed / static_cast<Number>(m - 1);
      for (std::size_t j = 0, r = 0; j < m; ++j) {
        if (j != slot) {
          to->position[r].push_back(p.position[j][i]);
          to->part[r].push_back(p.part[j][i] + (r == 0 ? freed - share * static_cast<Number>(m - 2) : share));
          ++r;
        }
      }
      to->weight.push_back(p.weight[i]);
    }
    for (std::size_t j = 0; j < m; ++j) {
      p.position[j].resize(kept);
      p.part[j].resize(kept);
    }
    p.weight.resize(kept);
    if (kept > 0) {
      patterns_.push_back(std::move(p));
    }
  }
}

template <class Number>
void Node<Number>::compress(std::size_t d) {
  const std::size_t size = fixed_[d].size();
  std::vector<std::uint32_t> segment(size + 1, 0);
  for (const Pattern& p : patterns_) {
    for (std::size_t j = 0; j < p.dimension.size(); ++j) {
      if (p.dimension[j] == d) {
        for (const std::uint32_t at : p.position[j]) {
          segment[at] = 1;
        }
      }
    }
  }
  segment[0] = 0;
  std::uint32_t last = 0;
  for (std::size_t c = 0; c < size; ++c) {
    last += segment[c];
    segment[c] = last;
    if (c == 0 || segment[c] != segment[c - 1] || fixed_[d][c] > fixed_[d][last]) {
      fixed_[d][last] = fixed_[d][c];
      origin_[d][last] = origin_[d][c];
    }
  }
  fixed_[d].resize(last + 1);
  origin_[d].resize(last + 1);
  fixed_[d].shrink_to_fit();
  origin_[d].shrink_to_fit();
  for (Pattern& p : patterns_) {
    for (std::size_t j = 0; j < p.dimension.size(); ++j) {
      if (p.dimension[j] == d) {
        for (std::uint32_t& at : p.position[j]) {
          at = segment[at];
        }
      }
    }
  }
}

template <class Number>
void Node<Number>::settle() {
  bytes_ = 0;
  for (std::size_t d = 0; d < fixed_.size(); ++d) {
    Number sum = 0;
    for (std::size_t c = 0; c < fixed_[d].size(); ++c) {
      sum += slab_[d][c];
      fixed_[d][c] += sum;
    }
    compress(d);
    slab_[d].clear();
    slab_[d].shrink_to_fit();
    bytes_ += fixed_[d].size() * (sizeof(Number) + sizeof(std::uint32_t));
  }
  for (const Pattern& p : patterns_) {
    const std::size_t m = p.dimension.size();
    bytes_ += p.weight.size() * (sizeof(Number) + m * (sizeof(Number) + sizeof(std::uint32_t)));
  }
}

template <class Number>
typename Node<Number>::Split Node<Number>::split() const {
  std::vector<std::size_t> depends(fixed_.size(), 0);
  for (const Pattern& p : patterns_) {
    for (const std::uint8_t d : p.dimension) {
      depends[d] += p.weight.size();
    }
  }
  Split s;
  s.single = true;
  for (std::size_t d = 0; d < fixed_.size(); ++d) {
    if (fixed_[d].size() > 1 && (s.single || depends[d] > depends[s.dimension])) {
      s.single = false;
      s.dimension = d;
    }
  }
  if (s.single) {
    return s;
  }
  std::vector<std::size_t> count(fixed_[s.dimension].size(), 0);
  for (const Pattern& p : patterns_) {
    for (std::size_t j = 0; j < p.dimension.size(); ++j) {
      if (p.dimension[j] == s.dimension) {
        for (const std::uint32_t at : p.position[j]) {
          ++count[at];
        }
      }
    }
  }
  std::size_t seen = 0, at = 1;  // positions are 1..size-1; the right half starts at a position
  for (; at + 1 < count.size(); ++at) {
    seen += count[at];
    if (2 * seen >= depends[s.dimension]) {
      break;
    }
  }
  s.at = static_cast<std::uint32_t>(at - 1);
  return s;
}

template <class Number>
Node<Number> Node<Number>::child(const Split& split, bool left) const {
  Node node = *this;
  for (std::size_t d = 0; d < node.fixed_.size(); ++d) {
    node.slab_[d].assign(node.fixed_[d].size() + 1, Number{0});
  }
  const auto size = static_cast<std::uint32_t>(fixed_[split.dimension].size());
  node.restrict_dimension(split.dimension, left ? 0 : split.at + 1, left ? split.at + 1 : size);
  node.settle();
  return node;
}

template <class Number>
Point Node<Number>::origin_of(const Point& t) const {
  Point point(t.size());
  for (std::size_t d = 0; d < t.size(); ++d) {
    point[d] = origin_[d][t[d]];
  }
  return point;
}

template <class Number>
Number Node<Number>::evaluate_single(Point& point) const {
  const Point t(fixed_.size(), 0);
  point = origin_of(t);
  Number sum = 0;
  for (const auto& f : fixed_) {
    sum += f[0];
  }
  return sum;
}

template class Node<std::int32_t>;
template class Node<double>;

}  // namespace offramp::stats::search
