#include "stats/segmentation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "stats/checks.h"

namespace offramp::stats {
namespace {

class Squares {
 public:
  explicit Squares(std::span<const double> y) : sum_(y.size() + 1), square_(y.size() + 1) {
    long double mean = 0, sum = 0, square = 0;
    for (const double v : y) {
      mean += v;
    }
    mean /= static_cast<long double>(y.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      const long double z = static_cast<long double>(y[i]) - mean;
      sum += z;
      square += z * z;
      sum_[i + 1] = static_cast<double>(sum);
      square_[i + 1] = static_cast<double>(square);
    }
  }
  // Sum of squares of [begin, end) around its mean.
  double operator()(std::size_t begin, std::size_t end) const {
    const double s = sum_[end] - sum_[begin];
    return std::max(0.0, square_[end] - square_[begin] - s * s / static_cast<double>(end - begin));
  }

 private:
  std::vector<double> sum_, square_;
};

void check(std::span<const double> y, double penalty, bool ascending, const char* what) {
  require_some(y, what, "the data");
  require_finite(y, what, "the data");
  if (!(penalty >= 0) || !std::isfinite(penalty)) {
    throw ValueError(std::string(what) + ": the penalty must be finite and not negative, got " +
                     to_text(penalty));
  }
  if (ascending && !std::is_sorted(y.begin(), y.end())) {
    throw ValueError(std::string(what) + ": the data must be in ascending order");
  }
}

Segmentation trace(const std::vector<std::size_t>& from, const Squares& cost) {
  Segmentation result;
  for (std::size_t end = from.size() - 1; end > 0; end = from[end]) {
    result.starts.push_back(from[end]);
    result.squares += cost(from[end], end);
  }
  std::reverse(result.starts.begin(), result.starts.end());
  return result;
}

}  // namespace

Segmentation segment_sorted(std::span<const double> sorted, double penalty) {
  check(sorted, penalty, true, "segment_sorted");
  const std::size_t n = sorted.size();
  const Squares cost(sorted);
  std::vector<double> best(n + 1, 0.0);
  std::vector<std::size_t> from(n + 1, 0);
  const auto value = [&](std::size_t start, std::size_t end) {
    return best[start] + cost(start, end) + penalty;
  };
  // The best start is monotone in the end. The queue holds starts with the first end at which each wins.
  struct Candidate {
    std::size_t start, first_end;
  };
  std::vector<Candidate> queue = {{0, 1}};
  std::size_t head = 0;
  for (std::size_t end = 1; end <= n; ++end) {
    while (head + 1 < queue.size() && queue[head + 1].first_end <= end) {
      ++head;
    }
    from[end] = queue[head].start;
    best[end] = value(queue[head].start, end);
    if (end == n) {
      break;
    }
    // Insert start = end: it wins from some end on; drop candidates that it beats where they would begin.
    std::size_t win = n + 1;
    while (queue.size() > head) {
      const Candidate back = queue.back();
      const std::size_t at = std::max(back.first_end, end + 1);
      if (value(end, at) < value(back.start, at)) {
        win = at;
        queue.pop_back();
        continue;
      }
      std::size_t low = at, high = n + 1;  // not better at low; better from high on (n + 1: never)
      while (high - low > 1) {
        const std::size_t middle = low + (high - low) / 2;
        (value(end, middle) < value(back.start, middle) ? high : low) = middle;
      }
      win = high;
      break;
    }
    if (win <= n) {
      queue.push_back({end, win});
    }
  }
  return trace(from, cost);
}

Segmentation segment_sorted_into(std::span<const double> sorted, std::size_t segments) {
  check(sorted, 0, true, "segment_sorted_into");
  const std::size_t n = sorted.size();
  if (segments < 1 || segments > n) {
    throw ValueError("segment_sorted_into: segments must lie in 1.." + std::to_string(n) + ", got " +
                     std::to_string(segments));
  }
  const Squares cost(sorted);
  std::vector<double> previous(n + 1, std::numeric_limits<double>::infinity()), current(n + 1);
  previous[0] = 0;
  std::vector<std::vector<std::size_t>> from(segments, std::vector<std::size_t>(n + 1, 0));
  struct Task {
    std::size_t low, high, from_low, from_high;  // ends low..high-1, starts from_low..from_high
  };
  for (std::size_t k = 0; k < segments; ++k) {
    std::fill(current.begin(), current.end(), std::numeric_limits<double>::infinity());
    std::vector<Task> stack = {{k + 1, n + 1, k, n - 1}};
    while (!stack.empty()) {
      const Task t = stack.back();
      stack.pop_back();
      if (t.low >= t.high) {
        continue;
      }
      const std::size_t end = t.low + (t.high - t.low) / 2;
      std::size_t arg = t.from_low;
      for (std::size_t start = t.from_low; start <= std::min(t.from_high, end - 1); ++start) {
        const double v = previous[start] + cost(start, end);
        if (v < current[end]) {
          current[end] = v;
          arg = start;
        }
      }
      from[k][end] = arg;
      stack.push_back({t.low, end, t.from_low, arg});
      stack.push_back({end + 1, t.high, arg, t.from_high});
    }
    std::swap(previous, current);
  }
  Segmentation result;
  for (std::size_t k = segments, end = n; k-- > 0; end = from[k][end]) {
    result.starts.push_back(from[k][end]);
    result.squares += cost(from[k][end], end);
  }
  std::reverse(result.starts.begin(), result.starts.end());
  return result;
}

Segmentation segment_pelt(std::span<const double> data, double penalty) {
  check(data, penalty, false, "segment_pelt");
  const std::size_t n = data.size();
  const Squares cost(data);
  std::vector<double> best(n + 1, 0.0), value;
  std::vector<std::size_t> from(n + 1, 0), starts;
  for (std::size_t end = 1; end <= n; ++end) {
    starts.push_back(end - 1);
    value.resize(starts.size());
    std::size_t arg = 0;
    for (std::size_t i = 0; i < starts.size(); ++i) {
      value[i] = best[starts[i]] + cost(starts[i], end);
      arg = value[i] < value[arg] ? i : arg;
    }
    best[end] = value[arg] + penalty;
    from[end] = starts[arg];
    // A start that is worse than starting anew here stays worse: splitting never raises the sum of squares.
    std::size_t kept = 0;
    for (std::size_t i = 0; i < starts.size(); ++i) {
      if (value[i] <= best[end]) {
        starts[kept++] = starts[i];
      }
    }
    starts.resize(kept);
  }
  return trace(from, cost);
}

}  // namespace offramp::stats
