#include "stats/search/threshold_branch_bound.h"

#include <limits>
#include <map>
#include <memory>
#include <utility>

#include "stats/search/threshold_node.h"

namespace offramp::stats::search {
namespace {

// Fixed, so that the tree does not depend on the number of threads.
constexpr std::size_t kBatch = 8;
constexpr std::size_t kUnboundedDepth = 2;  // the first boxes are never pruned: no steps are spent on them
constexpr int kSteps = 6;
// Lists of open nodes; beyond it the deepest node goes first, which closes nodes instead of opening them.
constexpr std::size_t kMemoryBytes = std::size_t{1} << 30;

template <class Number>
struct Open {
  Node<Number> node;
  Number bound;
  std::size_t depth, id;
};

}  // namespace

template <class Number>
Number ascend_coordinates(const Problem<Number>& problem, Point& t) {
  Number value = problem.value(t);
  for (std::size_t unchanged = 0, k = 0; unchanged < problem.dimensions; k = (k + 1) % problem.dimensions) {
    const Number next = problem.improve(t, k);
    unchanged = next > value + problem.rounding() ? 1 : unchanged + 1;
    value = next;
  }
  return value;
}

template <class Number>
Number ascend_pairs(const Problem<Number>& problem, Point& t, WorkerPool& pool) {
  Number value = ascend_coordinates(problem, t);
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  for (std::size_t a = 0; a < problem.dimensions; ++a) {
    for (std::size_t b = a + 1; b < problem.dimensions; ++b) {
      pairs.emplace_back(a, b);
    }
  }
  for (;;) {
    std::vector<Point> to(pairs.size(), t);
    std::vector<Number> reached(pairs.size(), value);
    pool.run(pairs.size(), [&](std::size_t i) {
      reached[i] = problem.improve_pair(to[i], pairs[i].first, pairs[i].second);
    });
    const auto best = std::max_element(reached.begin(), reached.end());
    if (best == reached.end() || *best <= value + problem.rounding()) {
      return value;
    }
    t = to[static_cast<std::size_t>(best - reached.begin())];
    value = ascend_coordinates(problem, t);
  }
}

template <class Number>
Certificate<Number> branch_and_bound(const Problem<Number>& problem,
                                     Point incumbent,
                                     std::chrono::steady_clock::time_point deadline,
                                     WorkerPool& pool) {
  const Number scale = Node<Number>::scale_for(problem.total);
  Certificate<Number> result;
  result.best = std::move(incumbent);
  result.value = ascend_pairs(problem, result.best, pool);
  const double slack = std::is_integral_v<Number> ? 0 : 1e-9 * static_cast<double>(problem.total);
  // A box with bound <= limit cannot hold anything better: integer bounds count as rounded down to whole
  // units.
  const auto limit = [&] {
    return std::is_integral_v<Number> ? static_cast<Number>(result.value * scale + (scale - 1))
                                      : static_cast<Number>(static_cast<double>(result.value) + slack);
  };

  std::vector<std::unique_ptr<Open<Number>>> open;
  std::size_t bytes = 0, next_id = 0;
  open.push_back(std::make_unique<Open<Number>>(Open<Number>{
      Node<Number>::root(problem, scale), static_cast<Number>(problem.total * scale), 0, next_id++}));
  result.nodes = 1;
  bytes = open[0]->node.bytes();
  const auto best_first = [](const auto& a, const auto& b) {
    return a->bound != b->bound ? a->bound > b->bound : a->id < b->id;
  };
  const auto deepest_first = [](const auto& a, const auto& b) {
    return a->depth != b->depth ? a->depth > b->depth : a->id < b->id;
  };
  bool out_of_time = false;
  while (!open.empty()) {
    if (std::chrono::steady_clock::now() >= deadline) {
      out_of_time = true;
      break;
    }
    const auto taken = static_cast<std::ptrdiff_t>(std::min(kBatch, open.size()));
    if (bytes > kMemoryBytes) {
      std::partial_sort(open.begin(), open.begin() + taken, open.end(), deepest_first);
    } else {
      std::partial_sort(open.begin(), open.begin() + taken, open.end(), best_first);
    }
    std::vector<std::unique_ptr<Open<Number>>> batch(std::make_move_iterator(open.begin()),
                                                     std::make_move_iterator(open.begin() + taken));
    open.erase(open.begin(), open.begin() + taken);
    std::erase_if(batch, [&](const auto& o) {
      const bool closed = o->bound <= limit();
      bytes -= closed ? o->node.bytes() : 0;
      return closed;
    });
    struct Child {
      std::unique_ptr<Open<Number>> open;
      Point point;
      Number value;
    };
    std::vector<Child> children(2 * batch.size());
    const Number known = limit();
    pool.run(children.size(), [&](std::size_t i) {
      const Open<Number>& parent = *batch[i / 2];
      Child& child = children[i];
      child.value = -1;
      const typename Node<Number>::Split split = parent.node.split();
      if (split.single) {
        if (i % 2 == 0) {  // one point left: its bound is its value
          child.value = parent.node.evaluate_single(child.point);
        }
        return;
      }
      child.open = std::make_unique<Open<Number>>();
      child.open->node = parent.node.child(split, i % 2 == 0);
      child.open->depth = parent.depth + 1;
      const int steps = child.open->depth < kUnboundedDepth ? 0 : kSteps;
      child.open->bound =
          std::min(parent.bound, child.open->node.tighten(steps, known, child.point, child.value));
      if (child.open->bound <= known) {
        child.open.reset();
      }
    });
    for (const auto& o : batch) {
      bytes -= o->node.bytes();
    }
    batch.clear();
    const auto best = std::max_element(
        children.begin(), children.end(), [](const Child& a, const Child& b) { return a.value < b.value; });
    if (best != children.end() && best->value > result.value * scale + problem.rounding()) {
      result.best = best->point;
      result.value = ascend_pairs(problem, result.best, pool);
    }
    for (Child& child : children) {
      ++result.nodes;
      if (child.open && child.open->bound > limit()) {
        child.open->id = next_id++;
        bytes += child.open->node.bytes();
        open.push_back(std::move(child.open));
      }
    }
  }
  Number highest = 0;
  for (const auto& o : open) {
    highest = std::max(highest, o->bound);
  }
  result.optimal = !out_of_time || highest <= limit();
  result.upper_bound = static_cast<double>(result.value) + (slack > 0 ? slack : 0);
  if (!result.optimal) {
    const double whole = static_cast<double>(highest) / static_cast<double>(scale);
    result.upper_bound = std::is_integral_v<Number> ? std::floor(whole) : whole;
  } else if (std::is_integral_v<Number> || problem.dimensions <= 2) {
    result.upper_bound = static_cast<double>(result.value);
  }
  return result;
}

template std::int32_t ascend_coordinates(const Problem<std::int32_t>&, Point&);
template std::int32_t ascend_pairs(const Problem<std::int32_t>&, Point&, WorkerPool&);
template Certificate<std::int32_t> branch_and_bound(const Problem<std::int32_t>&,
                                                    Point,
                                                    std::chrono::steady_clock::time_point,
                                                    WorkerPool&);
template double ascend_coordinates(const Problem<double>&, Point&);
template double ascend_pairs(const Problem<double>&, Point&, WorkerPool&);
template Certificate<double> branch_and_bound(const Problem<double>&,
                                              Point,
                                              std::chrono::steady_clock::time_point,
                                              WorkerPool&);

}  // namespace offramp::stats::search
