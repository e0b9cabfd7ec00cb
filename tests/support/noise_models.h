// Running times of early-exit queries under five kinds of noise (specs/extraction.md 2, membership.md 6.1).
// Everything follows from the seed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace offramp::test {

enum class Noise {
  kQuiet,      // normal
  kBusy,       // normal, and three queries in ten wait for a neighbour: exponential of 4 sigma
  kHeavyTail,  // normal, and one query in a hundred is Pareto slow: 20 sigma / U^(2/3)
  kChannel,    // t + z, z normal of mean 10 sigma kept only if positive
  kDrift,      // normal, and a linear trend of 4 sigma over the run
};

struct TimeModel {
  std::vector<double> share = {0.4, 0.3, 0.2, 0.1};            // of the exits
  double first_ns = 200000, gap_ns = 80000, sigma_ns = 10000;  // of one measurement
  Noise noise = Noise::kQuiet;
};

struct Times {
  std::vector<double> ns;              // [n, repetitions]
  std::vector<std::size_t> true_exit;  // [n] from 1
};

inline Times draw_times(const TimeModel& m, std::size_t n, std::size_t repetitions, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  std::discrete_distribution<std::size_t> pick(m.share.begin(), m.share.end());
  Times t;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t e = pick(rng);
    t.true_exit.push_back(e + 1);
    for (std::size_t r = 0; r < repetitions; ++r) {
      double ns = m.first_ns + m.gap_ns * static_cast<double>(e);
      if (m.noise == Noise::kChannel) {
        double z = 0;
        do {
          z = 10 * m.sigma_ns + m.sigma_ns * normal(rng);
        } while (z <= 0);
        ns += z;
      } else {
        ns += m.sigma_ns * normal(rng);
      }
      if (m.noise == Noise::kBusy && uniform(rng) < 0.3) {
        ns -= 4 * m.sigma_ns * std::log(1 - uniform(rng));
      }
      if (m.noise == Noise::kHeavyTail && uniform(rng) < 0.01) {
        ns += 20 * m.sigma_ns / std::pow(1 - uniform(rng), 2.0 / 3);
      }
      if (m.noise == Noise::kDrift) {
        ns += 4 * m.sigma_ns * static_cast<double>(i) / static_cast<double>(n);
      }
      t.ns.push_back(std::max(ns, 0.0));
    }
  }
  return t;
}

inline double share_equal(const std::vector<std::size_t>& a, const std::vector<std::size_t>& b) {
  std::size_t same = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    same += a[i] == b[i] ? 1 : 0;
  }
  return static_cast<double>(same) / static_cast<double>(a.size());
}

}  // namespace offramp::test
