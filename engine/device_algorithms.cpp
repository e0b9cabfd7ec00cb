#include "engine/device_algorithms.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <numbers>
#include <queue>
#include <string>

#include "engine/errors.h"

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/changepoints.h"
#include "kernels/cuda/kde.h"
#include "kernels/cuda/threshold_search.h"
#endif

namespace offramp::device_algorithms {

#if !OFFRAMP_HAS_CUDA

namespace {
[[noreturn]] void refuse(const char* what, const Device& device) {
  throw ValueError(std::string(what) + ": a cuda device is wanted, got " + device.name());
}
}  // namespace

std::vector<double> kde_direct(const Device& d, std::span<const double>, std::span<const double>, double) {
  refuse("kde_direct", d);
}
std::vector<double> kde_cells(
    const Device& d, std::span<const double>, std::span<const double>, double, double, double) {
  refuse("kde_cells", d);
}
std::vector<double> segment_log_q(const Device& d, std::span<const double>, const SegmentModel&) {
  refuse("segment_log_q", d);
}
SegmentPosterior segment_posterior(const Device& d, std::span<const double>, const SegmentModel&) {
  refuse("segment_posterior", d);
}
SegmentMap segment_map(const Device& d, std::span<const double>, const SegmentModel&) {
  refuse("segment_map", d);
}
JointAnswer joint_search(const Device& d, const JointProblem&) { refuse("joint_search", d); }

#else

namespace {

void require_cuda(const char* what, const Device& device) {
  if (device.kind() != DeviceKind::kCuda) {
    throw ValueError(std::string(what) + ": a cuda device is wanted, got " + device.name());
  }
}

// Device memory for the length of a call.
template <class T>
class Buffer {
 public:
  Buffer(const Device& device, std::size_t size)
      : device_(device),
        size_(size),
        data_(static_cast<T*>(device.allocate(size * sizeof(T), "algorithm"))) {}
  Buffer(const Device& device, std::span<const T> values) : Buffer(device, values.size()) { assign(values); }
  ~Buffer() { device_.release(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() const { return data_; }
  void assign(std::span<const T> values) {
    if (!values.empty()) device_.upload(data_, values.data(), values.size() * sizeof(T));
  }
  std::vector<T> values(std::size_t count) const {
    std::vector<T> out(count);
    if (count > 0) device_.download(out.data(), data_, count * sizeof(T));
    return out;
  }
  std::vector<T> values() const { return values(size_); }

 private:
  Device device_;
  std::size_t size_;
  T* data_;
};

std::int64_t count_of(std::span<const double> values) { return static_cast<std::int64_t>(values.size()); }

void check_density(const char* what, std::span<const double> sample, double bandwidth) {
  if (sample.empty() || sample.size() >= std::size_t{1} << 31) {
    throw ValueError(std::string(what) + ": 1 to 2^31 - 1 samples wanted, got " +
                     std::to_string(sample.size()));
  }
  if (!(bandwidth > 0) || !std::isfinite(bandwidth)) {
    throw ValueError(std::string(what) + ": the bandwidth must be positive and finite, got " +
                     std::to_string(bandwidth));
  }
}

}  // namespace

std::vector<double> kde_direct(const Device& device,
                               std::span<const double> sample,
                               std::span<const double> points,
                               double bandwidth) {
  require_cuda("kde_direct", device);
  check_density("kde_direct", sample, bandwidth);
  const Buffer<double> t(device, sample), at(device, points), density(device, points.size());
  cuda::kde_direct(device.cuda_context(),
                   count_of(sample),
                   t.data(),
                   count_of(points),
                   at.data(),
                   bandwidth,
                   density.data());
  return density.values();
}

std::vector<double> kde_cells(const Device& device,
                              std::span<const double> sample,
                              std::span<const double> points,
                              double bandwidth,
                              double cell_width,
                              double reach) {
  require_cuda("kde_cells", device);
  check_density("kde_cells", sample, bandwidth);
  constexpr double kMaxCells = 1 << 20;
  const auto [low, high] = std::minmax_element(sample.begin(), sample.end());
  if (!(cell_width > 0) || !((*high - *low) / cell_width + 2 <= kMaxCells)) {
    throw ValueError("kde_cells: the range must hold at most 2^20 cells, got " +
                     std::to_string((*high - *low) / cell_width + 2));
  }
  const cuda::KdeCells grid{
      .cells = static_cast<std::int64_t>((*high - *low) / cell_width) + 2, .low = *low, .width = cell_width};
  const Buffer<double> t(device, sample), at(device, points), density(device, points.size());
  const Buffer<double> moments(device, static_cast<std::size_t>(4 * grid.cells));
  cuda::kde_bin(device.cuda_context(), count_of(sample), t.data(), grid, moments.data());
  cuda::kde_from_cells(device.cuda_context(),
                       count_of(sample),
                       grid,
                       moments.data(),
                       count_of(points),
                       at.data(),
                       bandwidth,
                       reach,
                       density.data());
  return density.values();
}

// ---- changepoints
namespace {

constexpr double kNever = -1e300;  // log2 of a term that must not count

// Tables by length and prefix sums, made on the host in O(n).
struct Segments {
  std::size_t n;
  double shift = 0;
  std::vector<double> sum, half_squares, constant, plain, half, inverse, weight;

  Segments(std::span<const double> y, const SegmentModel& m, bool reversed)
      : n(y.size()),
        sum(n + 1),
        half_squares(n + 1),
        constant(n + 1, kNever),
        plain(n + 1),
        half(n + 1),
        inverse(n + 1),
        weight(n + 1) {
    long double total = 0;
    for (const double v : y) total += v;
    const double mean = static_cast<double>(total / static_cast<long double>(n));
    shift = mean - m.mu0;
    long double s1 = 0, s2 = 0;  // 64-bit mantissas: the prefix sums carry no accumulated error
    for (std::size_t p = 0; p < n; ++p) {
      const long double z =
          static_cast<long double>(y[reversed ? n - 1 - p : p]) - static_cast<long double>(mean);
      s1 += z;
      s2 += z * z / 2;
      sum[p + 1] = static_cast<double>(s1);
      half_squares[p + 1] = static_cast<double>(s2);
    }
    if (!std::isfinite(half_squares[n])) {
      throw ValueError("changepoints: the values are too large to square (sum of squares overflows)");
    }
    for (std::size_t l = 1; l <= n; ++l) {
      const double len = static_cast<double>(l), an = m.a0 + len / 2, kn = m.k0 + len;
      plain[l] = (std::lgamma(an) - std::lgamma(m.a0) + m.a0 * std::log(m.b0) +
                  (std::log(m.k0) - std::log(kn)) / 2 - len / 2 * std::log(2 * std::numbers::pi)) *
                 std::numbers::log2e;
      constant[l] = std::max(plain[l] + m.log_mass[l] * std::numbers::log2e, kNever);
      half[l] = an;
      inverse[l] = 0.5 / len;
      weight[l] = m.k0 * len / (2 * kn);
    }
  }
  double log2_evidence(const SegmentModel& m, std::size_t begin) const {  // of [begin, n)
    const std::size_t l = n - begin;
    const double d1 = sum[n] - sum[begin], off = 2 * d1 * inverse[l] + shift;
    const double excess =
        half_squares[n] - half_squares[begin] - d1 * d1 * inverse[l] + weight[l] * off * off;
    return plain[l] - half[l] * std::log2(m.b0 + std::max(excess, 0.0));
  }
};

void check_segments(const char* what, std::span<const double> y, const SegmentModel& m) {
  constexpr std::size_t kMost = std::size_t{1} << 24;
  if (y.empty() || y.size() > kMost) {
    throw ValueError(std::string(what) + ": 1 to 2^24 points wanted, got " + std::to_string(y.size()));
  }
  if (m.log_mass.size() <= y.size() || m.log_survival.size() < y.size()) {
    throw ValueError(std::string(what) + ": the length prior must cover lengths up to " +
                     std::to_string(y.size()));
  }
}

struct Solved {
  std::vector<double> x;
  std::vector<std::int32_t> end;
};

Solved solve(const Device& device,
             const Segments& s,
             const SegmentModel& m,
             const std::vector<double>& last,
             cuda::SegmentReduction reduction) {
  const Buffer<double> sum(device, s.sum), squares(device, s.half_squares), constant(device, s.constant),
      half(device, s.half), inverse(device, s.inverse), weight(device, s.weight), last_term(device, last),
      x(device, s.n);
  const Buffer<std::int32_t> end(device, s.n);
  const bool map = reduction == cuda::SegmentReduction::kMaximum;
  cuda::segment_recursion(device.cuda_context(),
                          {.n = static_cast<int>(s.n),
                           .sum = sum.data(),
                           .half_squares = squares.data(),
                           .constant = constant.data(),
                           .half = half.data(),
                           .inverse = inverse.data(),
                           .weight = weight.data(),
                           .last = last_term.data(),
                           .b0 = m.b0,
                           .shift = s.shift},
                          reduction,
                          x.data(),
                          map ? end.data() : nullptr);
  return {x.values(), map ? end.values() : std::vector<std::int32_t>{}};
}

// log2 of the last segment's term of each row: it ends with the data, so its length is only known to be
// reached.
std::vector<double> survivors(const Segments& s, const SegmentModel& m) {
  std::vector<double> last(s.n);
  for (std::size_t row = 0; row < s.n; ++row) {
    last[row] =
        std::max(s.log2_evidence(m, row) + m.log_survival[s.n - 1 - row] * std::numbers::log2e, kNever);
  }
  return last;
}

std::vector<double> in_nats(std::vector<double> x) {
  for (double& v : x) v *= std::numbers::ln2;
  return x;
}

}  // namespace

std::vector<double> segment_log_q(const Device& device, std::span<const double> y, const SegmentModel& m) {
  require_cuda("segment_log_q", device);
  check_segments("segment_log_q", y, m);
  const Segments s(y, m, false);
  return in_nats(solve(device, s, m, survivors(s, m), cuda::SegmentReduction::kLogSum).x);
}

SegmentPosterior segment_posterior(const Device& device, std::span<const double> y, const SegmentModel& m) {
  SegmentPosterior p;
  p.log_q = segment_log_q(device, y, m);
  p.log_evidence = p.log_q[0];
  // All ways to cover the points before t by closed segments: the same recursion, read from the end.
  const std::size_t n = y.size();
  const Segments reversed(y, m, true);
  std::vector<double> closed(n);
  for (std::size_t row = 0; row < n; ++row) {
    closed[row] =
        std::max(reversed.log2_evidence(m, row) + m.log_mass[n - row] * std::numbers::log2e, kNever);
  }
  const std::vector<double> f =
      in_nats(solve(device, reversed, m, closed, cuda::SegmentReduction::kLogSum).x);
  p.at.resize(n - 1);
  for (std::size_t i = 0; i + 1 < n; ++i) {
    p.at[i] = std::min(1.0, std::exp(f[n - 1 - i] + p.log_q[i + 1] - p.log_evidence));
  }
  return p;
}

SegmentMap segment_map(const Device& device, std::span<const double> y, const SegmentModel& m) {
  require_cuda("segment_map", device);
  check_segments("segment_map", y, m);
  const Segments s(y, m, false);
  const Solved solved = solve(device, s, m, survivors(s, m), cuda::SegmentReduction::kMaximum);
  SegmentMap map;
  map.log_joint = solved.x[0] * std::numbers::ln2;
  for (std::size_t row = 0; row < s.n; row = static_cast<std::size_t>(solved.end[row])) {
    map.starts.push_back(row);
  }
  return map;
}

// ---- joint thresholds
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
    const Buffer<unsigned long long> largest(device_, 1);
    cuda::SearchGrid grid = levels.grid;
    grid.stay = grid.leave = points.data();
    cuda::integral_histogram(context(), table_, grid, cells.data());
    cuda::largest_cell(context(), grid.cells, cells.data(), largest.data());
    const unsigned long long packed = largest.values()[0];
    const cuda::SearchBox at =
        levels.box_of(p_.candidates, static_cast<std::int64_t>(0xffffffffull - (packed & 0xffffffffull)));
    consider(Point(at.low, at.low + dims_), static_cast<std::int64_t>(packed >> 32));

    grid.stay = boxes.data();
    cuda::integral_histogram(context(), table_, grid, cells.data());
    constexpr std::int32_t kMost = 1 << 18;
    const Buffer<std::uint32_t> list(device_, kMost);
    const Buffer<std::int32_t> found(device_, 1);
    cuda::cells_above(context(),
                      grid.cells,
                      cells.data(),
                      static_cast<std::int32_t>(value_),
                      kMost,
                      list.data(),
                      found.data());
    const std::int32_t survivors = found.values()[0];
    const auto total = static_cast<std::int64_t>(std::int64_t{1} << 31);
    if (survivors > kMost) {  // a grid too coarse to decide: start from one box
      cuda::SearchBox all{};
      for (std::size_t k = 0; k < dims_; ++k) all.high[k] = p_.candidates[k] - 1;
      open_.push({total, all});
      return;
    }
    std::vector<std::uint32_t> kept = list.values(static_cast<std::size_t>(survivors));
    std::sort(kept.begin(), kept.end());  // they came in any order
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

#endif

}  // namespace offramp::device_algorithms
