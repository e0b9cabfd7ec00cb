#include "stats/search/threshold_problem.h"

#include <numeric>
#include <utility>

namespace offramp::stats::search {
namespace {

struct Keyed {
  double confidence;
  std::uint32_t sample;
};

}  // namespace

template <class Number>
Problem<Number>::Problem(const SearchSamples& s, WorkerPool& pool)
    : dimensions(s.num_exits - 1), groups(s.num_exits), threshold(dimensions) {
  for (std::size_t e = 0; e < s.num_exits; ++e) {
    groups[e].position.resize(bound(e));
  }
  for (std::size_t i = 0; i < s.exits.size(); ++i) {
    const Number weight = s.weights.empty() ? Number{1} : static_cast<Number>(s.weights[i]);
    if (weight > 0) {
      groups[static_cast<std::size_t>(s.exits[i] - 1)].weight.push_back(weight);
      total += weight;
    }
  }
  for (Group& g : groups) {
    for (auto& p : g.position) {
      p.resize(g.weight.size());
    }
  }
  pool.run(dimensions, [&](std::size_t k) { rank(s, k); });
}

// Between two neighbouring confidences nothing changes, so the places between are the candidates; of those
// only the ones where a stay was just won and a leave is about to be lost can be best: any other place has a
// neighbour that is at least as good whatever the other thresholds are.
template <class Number>
void Problem<Number>::rank(const SearchSamples& s, std::size_t k) {
  std::vector<Keyed> order;
  std::vector<std::uint32_t> next_of(groups.size(), 0), index_in_group(s.exits.size());
  for (std::size_t i = 0; i < s.exits.size(); ++i) {
    const auto e = static_cast<std::size_t>(s.exits[i] - 1);
    if (!s.weights.empty() && s.weights[i] == 0) {
      continue;
    }
    index_in_group[i] = next_of[e]++;
    if (e >= k) {
      order.push_back({s.confidences[i * s.num_exits + k], static_cast<std::uint32_t>(i)});
    }
  }
  std::sort(
      order.begin(), order.end(), [](const Keyed& a, const Keyed& b) { return a.confidence < b.confidence; });
  std::vector<double>& values = threshold[k];
  // Walk the distinct confidences. `open` is the place below the current one; it becomes a candidate when a
  // leave is lost above it and a stay was won below it (or it is the lowest place).
  bool won = true;
  double below = 0;
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    bool stays = false, loses = false;
    for (; end < order.size() && order[end].confidence == order[begin].confidence; ++end) {
      const auto e = static_cast<std::size_t>(s.exits[order[end].sample] - 1);
      (leaves(e, k) ? loses : stays) = true;
    }
    const double here = order[begin].confidence;
    if (loses && won) {
      values.push_back(begin == 0 ? below_all(here) : between(below, here));
      won = false;
    }
    won = won || stays;
    // Both kinds are satisfied or not by the first candidate above this value: t >= p stays, t < p leaves.
    for (std::size_t j = begin; j < end; ++j) {
      const auto e = static_cast<std::size_t>(s.exits[order[j].sample] - 1);
      groups[e].position[k][index_in_group[order[j].sample]] = static_cast<std::uint32_t>(values.size());
    }
    below = here;
    begin = end;
  }
  if (won) {
    values.push_back(above_all(order.empty() ? 0.0 : order.back().confidence));
  }
}

template <class Number>
Number Problem<Number>::value(const Point& t) const {
  Number sum = 0;
  for (std::size_t e = 0; e < groups.size(); ++e) {
    const Group& g = groups[e];
    for (std::size_t i = 0; i < g.weight.size(); ++i) {
      bool counted = true;
      for (std::size_t k = 0; k < g.position.size(); ++k) {
        counted &= (t[k] >= g.position[k][i]) != leaves(e, k);
      }
      sum += counted ? g.weight[i] : Number{0};
    }
  }
  return sum;
}

template <class Number>
template <class F>
void Problem<Number>::for_free(const Point& t, std::size_t a, std::size_t b, F f) const {
  constexpr std::size_t kBlock = 1024;
  char free[kBlock];
  for (std::size_t e = 0; e < groups.size(); ++e) {
    const Group& g = groups[e];
    for (std::size_t begin = 0; begin < g.weight.size(); begin += kBlock) {
      const std::size_t count = std::min(kBlock, g.weight.size() - begin);
      std::fill_n(free, count, 1);
      for (std::size_t k = 0; k < g.position.size(); ++k) {
        if (k == a || k == b) {
          continue;
        }
        const std::uint32_t at = t[k], *const p = g.position[k].data() + begin;
        const char flip = leaves(e, k) ? 1 : 0;
        for (std::size_t i = 0; i < count; ++i) {
          free[i] = static_cast<char>(free[i] & ((at >= p[i] ? 1 : 0) ^ flip));
        }
      }
      for (std::size_t i = 0; i < count; ++i) {
        if (free[i]) {
          f(e, g, begin + i);
        }
      }
    }
  }
}

template <class Number>
Number Problem<Number>::improve(Point& t, std::size_t k) const {
  std::vector<Number> change(candidates(k) + 1, Number{0});
  Number constant = 0;
  for_free(t, k, k, [&](std::size_t e, const Group& g, std::size_t i) {
    const Number w = g.weight[i];
    if (k >= g.position.size()) {
      constant += w;
    } else if (leaves(e, k)) {
      constant += w;
      change[g.position[k][i]] -= w;
    } else {
      change[g.position[k][i]] += w;
    }
  });
  Number sum = constant, best = 0, stay = 0;
  std::uint32_t arg = 0;
  for (std::uint32_t c = 0; c < candidates(k); ++c) {
    sum += change[c];
    stay = c == t[k] ? sum : stay;
    if (c == 0 || sum > best) {
      best = sum;
      arg = c;
    }
  }
  if (best <= stay + rounding()) {
    return stay;
  }
  t[k] = arg;
  return best;
}

template <class Number>
Number Problem<Number>::improve_pair(Point& t, std::size_t a, std::size_t b) const {
  // Samples sorted by their position in a (counting sort); those without one are constant in a.
  struct Event {
    std::uint32_t at_b;
    bool a_leaves, binds_b, b_leaves;
    Number weight;
  };
  std::vector<std::uint32_t> count(candidates(a) + 2, 0);
  for_free(t, a, b, [&](std::size_t, const Group& g, std::size_t i) {
    if (a < g.position.size()) {
      ++count[g.position[a][i] + 1];
    }
  });
  std::partial_sum(count.begin(), count.end(), count.begin());
  std::vector<Event> events(count.back());
  std::vector<std::uint32_t> fill(count.begin(), count.end() - 1);
  PrefixMaximum<Number> tree(candidates(b) + 1);  // the last leaf is no candidate
  Number constant = 0;
  const auto toggle = [&](const Event& v, Number sign) {
    const Number w = sign * v.weight;
    if (!v.binds_b) {
      constant += w;
    } else if (v.b_leaves) {
      constant += w;
      tree.add(v.at_b, -w);
    } else {
      tree.add(v.at_b, w);
    }
  };
  for_free(t, a, b, [&](std::size_t e, const Group& g, std::size_t i) {
    const bool binds_b = b < g.position.size();
    const Event v = {binds_b ? g.position[b][i] : 0, leaves(e, a), binds_b, leaves(e, b), g.weight[i]};
    if (a < g.position.size()) {
      events[fill[g.position[a][i]]++] = v;
      if (v.a_leaves) {
        toggle(v, Number{1});  // satisfied until the sweep reaches its position
      }
    } else {
      toggle(v, Number{1});
    }
  });
  Number best = 0;
  Point arg = t;
  for (std::uint32_t c = 0; c < candidates(a); ++c) {
    for (std::uint32_t i = count[c]; i < count[c + 1]; ++i) {
      toggle(events[i], events[i].a_leaves ? Number{-1} : Number{1});
    }
    const Number here = constant + tree.best();
    const std::size_t where = tree.where();
    if (c == 0 || here > best) {
      best = here;
      arg[a] = c;
      arg[b] = static_cast<std::uint32_t>(std::min(where, candidates(b) - 1));
    }
  }
  const Number now = value(t);
  if (best > now + rounding()) {
    t = arg;
    return best;
  }
  return now;
}

template struct Problem<std::int32_t>;
template struct Problem<double>;

}  // namespace offramp::stats::search
