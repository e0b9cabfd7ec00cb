// Synthetic running times of early-exit queries, one measurement each: K exits, five kinds of noise, neighbours 1 to
// 12 sigma apart, clock ticks, unequal shares, recorders that clip. Everything follows from the seed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace offramp::test {

enum class TraceNoise {
  kNormal,
  kFloorAndTail,  // a normal of 0.35 and an exponential, together of deviation 1
  kLognormal,     // ln sigma 0.4
  kTwoSpeeds,  // two normals three of their deviations apart, their shares a bit different from exit to exit
  kHiccups,    // Student t of 5 degrees, and one query in a hundred late by 5 to 50 sigma
};
inline constexpr int kTraceNoises = 5;

struct ExitTrace {
  // What was drawn.
  std::size_t exits = 1;
  double separation = 0;  // least gap of neighbours, in the larger of their deviations
  TraceNoise noise = TraceNoise::kNormal;
  double tick_ns = 0;  // of the clock; 0: one nanosecond, which is a 300th of the noise
  bool clipped = false;
  // The trace, in random order.
  std::vector<double> ns;
  std::vector<std::size_t> true_exit;  // [n] from 1
};

inline ExitTrace draw_exit_trace(std::uint64_t seed) {
  std::mt19937_64 rng(seed * 0x9E3779B97F4A7C15ull + 1);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  const auto one_of = [&](const auto& list) { return list[rng() % list.size()]; };
  ExitTrace t;
  t.exits = 1 + rng() % 8;
  t.separation = one_of(std::vector<double>{1, 1.5, 2, 3, 4, 6, 8, 12});
  t.noise = static_cast<TraceNoise>(rng() % kTraceNoises);
  const auto n = one_of(std::vector<std::size_t>{1000, 2000, 4000});
  constexpr double kSigma = 300;
  t.tick_ns = kSigma * one_of(std::vector<double>{0, 0.1, 0.33, 1});
  t.clipped = rng() % 5 == 0;
  const int growth = static_cast<int>(rng() % 3);

  // Deviations: equal, growing by a fifth to a half an exit, or each within 15 % of a common one.
  std::vector<double> sigma(t.exits, kSigma), share, centre(t.exits, 40000 + 20000 * uniform(rng));
  const double step = 1.1 + 0.2 * uniform(rng);
  for (std::size_t k = 0; k < t.exits; ++k) {
    if (growth == 1) sigma[k] = kSigma * std::pow(step, static_cast<double>(k));
    if (growth == 2) sigma[k] = kSigma * std::exp(0.15 * normal(rng));
    share.push_back(std::exp(normal(rng)));
  }
  double sum = 0;
  for (const double s : share) sum += s;
  for (double& s : share) s = 0.01 + (1 - 0.01 * static_cast<double>(t.exits)) * s / sum;
  for (std::size_t k = 1; k < t.exits; ++k) {
    const double u = k == 1 ? 0 : uniform(rng);  // one gap is the least
    centre[k] = centre[k - 1] + t.separation * (1 + 2 * u * u) * std::max(sigma[k], sigma[k - 1]);
  }
  std::vector<double> second(t.exits);  // share of the slower speed
  const double common = 0.3 + 0.4 * uniform(rng);
  for (double& s : second) s = common + 0.1 * (2 * uniform(rng) - 1);

  std::discrete_distribution<std::size_t> pick(share.begin(), share.end());
  std::exponential_distribution<double> exponential(1);
  std::student_t_distribution<double> student(5);
  const auto draw = [&](std::size_t k) {
    switch (t.noise) {
      case TraceNoise::kNormal:
        return normal(rng);
      case TraceNoise::kFloorAndTail:
        return 0.35 * normal(rng) + std::sqrt(1 - 0.35 * 0.35) * (exponential(rng) - 1);
      case TraceNoise::kLognormal: {
        constexpr double kLog = 0.4;
        const double v = kLog * kLog, mean = std::exp(v / 2), sd = mean * std::sqrt(std::exp(v) - 1);
        return (std::exp(kLog * normal(rng)) - mean) / sd;
      }
      case TraceNoise::kTwoSpeeds: {
        const double w = second[k], sd = std::sqrt(1 + 9 * w * (1 - w));
        return (normal(rng) + (uniform(rng) < w ? 3 : 0) - 3 * w) / sd;
      }
      case TraceNoise::kHiccups:
        return student(rng) / std::sqrt(5.0 / 3) + (uniform(rng) < 0.01 ? 5 + 45 * uniform(rng) : 0);
    }
    return 0.0;
  };
  std::vector<std::vector<double>> of_exit(t.exits);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t k = pick(rng);
    double ns = centre[k] + sigma[k] * draw(k);
    const double tick = t.tick_ns > 0 ? t.tick_ns : 1;
    ns = tick * std::round(ns / tick);
    t.ns.push_back(ns);
    t.true_exit.push_back(k + 1);
    of_exit[k].push_back(ns);
  }
  if (t.clipped) {  // a recorder that puts the mean of an exit in place of what lies far out
    for (std::size_t k = 0; k < t.exits; ++k) {
      auto& v = of_exit[k];
      if (v.size() < 20) continue;
      std::sort(v.begin(), v.end());
      double mean = 0;
      for (const double x : v) mean += x / static_cast<double>(v.size());
      const double low = v[v.size() / 50], high = v[v.size() - 1 - v.size() / 50];
      for (std::size_t i = 0; i < n; ++i)
        if (t.true_exit[i] == k + 1 && (t.ns[i] < low || t.ns[i] > high)) t.ns[i] = mean;
    }
  }
  return t;
}

// The most samples that ordered thresholds between distinct times can put right, as a share: dynamic programming over
// the truth. best[k] after a time: the most so far with the times up to it in exits 1..k+1.
inline double best_threshold_accuracy(const std::vector<double>& ns,
                                      const std::vector<std::size_t>& true_exit) {
  const std::size_t exits = *std::max_element(true_exit.begin(), true_exit.end());
  std::vector<std::size_t> order(ns.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return ns[a] < ns[b]; });
  std::vector<double> best(exits, 0), count(exits);
  for (std::size_t i = 0; i < order.size();) {
    std::fill(count.begin(), count.end(), 0.0);
    std::size_t j = i;
    for (; j < order.size() && ns[order[j]] == ns[order[i]]; ++j) count[true_exit[order[j]] - 1] += 1;
    for (std::size_t k = 0; k < exits; ++k) {
      const double before = k > 0 ? std::max(best[k - 1], best[k]) : best[k];
      best[k] = before;  // the threshold between k and k + 1 may lie just below this time
    }
    for (std::size_t k = 0; k < exits; ++k) best[k] += count[k];
    i = j;
  }
  return *std::max_element(best.begin(), best.end()) / static_cast<double>(ns.size());
}

}  // namespace offramp::test
