#include "kernels/cuda/changepoints.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "engine/device_algorithms.h"
#include "engine/device_algorithms/device_buffer.h"

namespace offramp::device_algorithms {
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

}  // namespace offramp::device_algorithms
