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
template <class Number>
using OpenPointer = std::unique_ptr<Open<Number>>;

// The boxes that may still hold something better, and the bytes of their lists.
template <class Number>
class OpenNodes {
 public:
  bool empty() const { return open_.empty(); }

  void add(OpenPointer<Number> node) {
    node->id = next_id_++;
    bytes_ += node->node.bytes();
    open_.push_back(std::move(node));
  }

  // The next kBatch of them, without those that `limit` has closed meanwhile.
  std::vector<OpenPointer<Number>> take(Number limit) {
    const auto best_first = [](const auto& a, const auto& b) {
      return a->bound != b->bound ? a->bound > b->bound : a->id < b->id;
    };
    const auto deepest_first = [](const auto& a, const auto& b) {
      return a->depth != b->depth ? a->depth > b->depth : a->id < b->id;
    };
    const auto end = open_.begin() + static_cast<std::ptrdiff_t>(std::min(kBatch, open_.size()));
    if (bytes_ > kMemoryBytes) {
      std::partial_sort(open_.begin(), end, open_.end(), deepest_first);
    } else {
      std::partial_sort(open_.begin(), end, open_.end(), best_first);
    }
    std::vector<OpenPointer<Number>> batch(std::make_move_iterator(open_.begin()),
                                           std::make_move_iterator(end));
    open_.erase(open_.begin(), end);
    for (const auto& node : batch) bytes_ -= node->node.bytes();
    std::erase_if(batch, [&](const auto& node) { return node->bound <= limit; });
    return batch;
  }

  Number highest_bound() const {  // 0 if there are none
    Number highest = 0;
    for (const auto& node : open_) highest = std::max(highest, node->bound);
    return highest;
  }

 private:
  std::vector<OpenPointer<Number>> open_;
  std::size_t bytes_ = 0, next_id_ = 0;
};

// Half of a box: null where it is closed. Its best known point, value -1 where none was met.
template <class Number>
struct Child {
  OpenPointer<Number> open;
  Point point;
  Number value = -1;
};

// Both halves of each box of the batch, bounded; `known`: what closes them.
template <class Number>
std::vector<Child<Number>> halves_of(const std::vector<OpenPointer<Number>>& batch,
                                     Number known,
                                     WorkerPool& pool) {
  std::vector<Child<Number>> children(2 * batch.size());
  pool.run(children.size(), [&](std::size_t i) {
    const Open<Number>& parent = *batch[i / 2];
    Child<Number>& child = children[i];
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
  return children;
}

// The upper bound that goes with the answer. `highest`: of the boxes left open, in units of 1 / scale.
template <class Number>
double upper_bound_of(const Problem<Number>& problem,
                      const Certificate<Number>& result,
                      Number highest,
                      Number scale,
                      double slack) {
  if (!result.optimal) {
    const double whole = static_cast<double>(highest) / static_cast<double>(scale);
    return std::is_integral_v<Number> ? std::floor(whole) : whole;
  }
  const bool exact = std::is_integral_v<Number> || problem.dimensions <= 2;
  return static_cast<double>(result.value) + (exact ? 0 : slack);
}

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

  OpenNodes<Number> open;
  open.add(std::make_unique<Open<Number>>(
      Open<Number>{Node<Number>::root(problem, scale), static_cast<Number>(problem.total * scale), 0, 0}));
  result.nodes = 1;
  bool out_of_time = false;
  while (!open.empty()) {
    if (std::chrono::steady_clock::now() >= deadline) {
      out_of_time = true;
      break;
    }
    std::vector<OpenPointer<Number>> batch = open.take(limit());
    std::vector<Child<Number>> children = halves_of(batch, limit(), pool);
    batch.clear();
    const auto best = std::max_element(
        children.begin(), children.end(), [](const auto& a, const auto& b) { return a.value < b.value; });
    if (best != children.end() && best->value > result.value * scale + problem.rounding()) {
      result.best = best->point;
      result.value = ascend_pairs(problem, result.best, pool);
    }
    for (Child<Number>& child : children) {
      ++result.nodes;
      if (child.open && child.open->bound > limit()) open.add(std::move(child.open));
    }
  }
  const Number highest = open.highest_bound();
  result.optimal = !out_of_time || highest <= limit();
  result.upper_bound = upper_bound_of(problem, result, highest, scale, slack);
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
