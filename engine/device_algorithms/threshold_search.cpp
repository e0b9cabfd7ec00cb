#include "kernels/cuda/threshold_search.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <queue>
#include <string>

#include "engine/device_algorithms.h"
#include "engine/device_algorithms/device_buffer.h"
#include "kernels/cuda/search_cells.h"

namespace offramp::device_algorithms {
namespace {

using Clock = std::chrono::steady_clock;
using Point = std::vector<std::uint32_t>;

void check_joint(const JointProblem& p) {
  const std::size_t dims = p.candidates.size(), n = p.exit.size();
  if (dims < 1 || dims > cuda::kMaxSearchDimensions) {
    throw ValueError("joint_search: 2 to " + std::to_string(cuda::kMaxSearchDimensions + 1) +
                     " exits fit the device, got " + std::to_string(dims + 1));
  }
  if (p.position.size() != dims * n || p.weight.size() != n || n >= std::size_t{1} << 31 ||
      (!p.start.empty() && p.start.size() != dims)) {
    throw ValueError("joint_search: sizes do not fit: " + std::to_string(n) + " exits, " +
                     std::to_string(p.weight.size()) + " weights, " + std::to_string(p.position.size()) +
                     " positions, a start of " + std::to_string(p.start.size()) + ", " +
                     std::to_string(dims) + " dimensions");
  }
  std::int64_t total = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (p.weight[i] < 0 || p.exit[i] < 0 || p.exit[i] > static_cast<std::int32_t>(dims)) {
      throw ValueError("joint_search: sample " + std::to_string(i) + " has exit " +
                       std::to_string(p.exit[i]) + " and weight " + std::to_string(p.weight[i]));
    }
    total += p.weight[i];
  }
  if (total >= std::int64_t{1} << 31) {
    throw ValueError("joint_search: weights must sum to less than 2^31, got " + std::to_string(total));
  }
}

// Level boundaries of the coarse grid: level g of dimension k stands for candidates
// [g count / levels, (g + 1) count / levels).
struct Levels {
  cuda::SearchGrid grid;
  std::vector<std::uint16_t> points, boxes;  // first level with t >= p: as a point, or somewhere in its box

  Levels(const Point& candidates, std::int64_t cells) {
    const auto dims = candidates.size();
    const auto even =
        static_cast<std::int64_t>(std::pow(static_cast<double>(cells), 1 / static_cast<double>(dims)) + 1e-9);
    for (std::size_t k = 0; k < dims; ++k) {
      const int levels = static_cast<int>(std::clamp<std::int64_t>(even, 1, std::min(candidates[k], 60000u)));
      grid.levels[k] = levels;
      grid.cells *= levels;
      grid.offset[k] = static_cast<std::int64_t>(points.size());
      for (std::uint32_t p = 0; p <= candidates[k]; ++p) {
        int point = points.size() > static_cast<std::size_t>(grid.offset[k]) ? points.back() : 0;
        int box = boxes.size() > static_cast<std::size_t>(grid.offset[k]) ? boxes.back() : 0;
        while (point < levels && start(candidates[k], k, point) < p) ++point;
        while (box < levels && start(candidates[k], k, box + 1) - 1 < std::int64_t{p}) ++box;
        points.push_back(static_cast<std::uint16_t>(point));
        boxes.push_back(static_cast<std::uint16_t>(box));
      }
    }
  }
  std::int64_t start(std::uint32_t candidates, std::size_t k, int level) const {
    return std::int64_t{level} * candidates / grid.levels[k];
  }
  cuda::SearchBox box_of(const Point& candidates, std::int64_t cell) const {
    cuda::SearchBox box{};
    for (std::size_t k = candidates.size(); k-- > 0;) {
      const int level = static_cast<int>(cell % grid.levels[k]);
      cell /= grid.levels[k];
      box.low[k] = static_cast<std::uint32_t>(start(candidates[k], k, level));
      box.high[k] = static_cast<std::uint32_t>(start(candidates[k], k, level + 1) - 1);
    }
    return box;
  }
};

struct OpenBox {
  std::int64_t bound;
  cuda::SearchBox box;
  bool operator<(const OpenBox& o) const { return bound < o.bound; }
};

class JointSearch {
 public:
  JointSearch(const Device& device, const JointProblem& p)
      : device_(device),
        p_(p),
        dims_(p.candidates.size()),
        position_(device, p.position),
        exit_(device, p.exit),
        weight_(device, p.weight),
        table_{.dimensions = static_cast<int>(dims_),
               .n = static_cast<std::int64_t>(p.exit.size()),
               .position = position_.data(),
               .exit = exit_.data(),
               .weight = weight_.data()} {}

  JointAnswer run() {
    const auto begin = Clock::now();
    best_ = p_.start.empty() ? Point(dims_, 0) : p_.start;
    value_ = count(best_);
    coarse();
    bool in_time = true;
    while (!open_.empty() && open_.top().bound > value_) {
      in_time = std::chrono::duration<double>(Clock::now() - begin).count() <= p_.time_limit_s;
      if (!in_time) break;
      bound_some();
    }
    JointAnswer a{
        .point = best_, .value = value_, .upper_bound = value_, .optimal = in_time, .boxes = boxes_};
    if (!in_time) a.upper_bound = open_.top().bound;
    return a;
  }

 private:
  cuda::Context& context() const { return device_.cuda_context(); }

  std::int64_t count(const Point& t) {
    cuda::SearchBox point{};
    std::copy(t.begin(), t.end(), point.low);
    const Buffer<unsigned long long> value(device_, 1);
    cuda::count_by_bitsets(context(), table_, point, value.data());
    return static_cast<std::int64_t>(value.values()[0]);
  }
  void consider(const Point& t, std::int64_t value) {
    if (value <= value_) return;
    value_ = value;
    best_ = t;
  }

  // The best grid point, then the boxes between grid points whose bound is better than that.
  void coarse() {
    const Levels levels(p_.candidates, p_.grid_cells);
    const Buffer<std::uint16_t> points(device_, levels.points), boxes(device_, levels.boxes);
    const Buffer<std::int32_t> cells(device_, static_cast<std::size_t>(levels.grid.cells));
    cuda::SearchGrid grid = levels.grid;
    grid.stay = grid.leave = points.data();
    cuda::integral_histogram(context(), table_, grid, cells.data());
    const cuda::LargestCell largest = cuda::largest_cell(context(), grid.cells, cells.data());
    const cuda::SearchBox at = levels.box_of(p_.candidates, largest.cell);
    consider(Point(at.low, at.low + dims_), largest.count);

    grid.stay = boxes.data();
    cuda::integral_histogram(context(), table_, grid, cells.data());
    constexpr std::int32_t kMost = 1 << 18;
    const Buffer<std::uint32_t> list(device_, kMost);
    const std::int64_t survivors = cuda::cells_above(
        context(), grid.cells, cells.data(), static_cast<std::int32_t>(value_), kMost, list.data());
    const auto total = static_cast<std::int64_t>(std::int64_t{1} << 31);
    if (survivors > kMost) {  // a grid too coarse to decide: start from one box
      cuda::SearchBox all{};
      for (std::size_t k = 0; k < dims_; ++k) all.high[k] = p_.candidates[k] - 1;
      open_.push({total, all});
      return;
    }
    std::vector<std::uint32_t> kept = list.values(static_cast<std::size_t>(survivors));
    std::sort(kept.begin(), kept.end());  // they come in any order
    const std::vector<std::int32_t> bound = cells.values();
    for (const std::uint32_t cell : kept) open_.push({bound[cell], levels.box_of(p_.candidates, cell)});
  }

  void bound_some() {
    std::vector<OpenBox> batch;
    while (!open_.empty() && open_.top().bound > value_ &&
           batch.size() < static_cast<std::size_t>(p_.batch)) {
      batch.push_back(open_.top());
      open_.pop();
    }
    std::vector<cuda::SearchBox> boxes;
    for (const OpenBox& b : batch) boxes.push_back(b.box);
    const Buffer<cuda::SearchBox> box(device_, boxes);
    const Buffer<cuda::SearchBoxResult> result(device_, boxes.size());
    cuda::bound_boxes(context(), table_, static_cast<int>(boxes.size()), box.data(), value_, result.data());
    const std::vector<cuda::SearchBoxResult> results = result.values();
    boxes_ += boxes.size();
    for (const cuda::SearchBoxResult& r : results) {
      if (r.value > value_) consider(Point(r.point, r.point + dims_), r.value);
    }
    for (std::size_t i = 0; i < results.size(); ++i) {
      const cuda::SearchBoxResult& r = results[i];
      const std::int64_t bound = std::min<std::int64_t>(r.bound, batch[i].bound);
      if (bound <= value_ || r.split < 0) continue;
      const std::uint32_t low = boxes[i].low[r.split], high = boxes[i].high[r.split];
      cuda::SearchBox left = boxes[i], right = boxes[i];
      left.high[r.split] = low + (high - low) / 2;
      right.low[r.split] = low + (high - low) / 2 + 1;
      open_.push({bound, left});
      open_.push({bound, right});
    }
  }

  Device device_;
  const JointProblem& p_;
  std::size_t dims_;
  Buffer<std::uint32_t> position_;
  Buffer<std::int32_t> exit_, weight_;
  cuda::SearchTable table_;
  Point best_;
  std::int64_t value_ = 0;
  std::size_t boxes_ = 0;
  std::priority_queue<OpenBox> open_;
};

}  // namespace

JointAnswer joint_search(const Device& device, const JointProblem& problem) {
  require_cuda("joint_search", device);
  check_joint(problem);
  return JointSearch(device, problem).run();
}

}  // namespace offramp::device_algorithms
