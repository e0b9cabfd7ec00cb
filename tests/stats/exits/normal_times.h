// Times of exits with the same normal noise.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace offramp::stats {

// counts[k] times around centres[k], shuffled; rounded to multiples of `tick` where it is above 0.
inline std::vector<double> normal_times(std::span<const double> centres,
                                        std::span<const std::size_t> counts,
                                        double sigma,
                                        std::uint64_t seed,
                                        double tick = 0) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal(0, sigma);
  std::vector<double> out;
  for (std::size_t k = 0; k < centres.size(); ++k)
    for (std::size_t i = 0; i < counts[k]; ++i) {
      const double t = centres[k] + normal(rng);
      out.push_back(tick > 0 ? tick * std::round(t / tick) : t);
    }
  std::shuffle(out.begin(), out.end(), rng);
  return out;
}

}  // namespace offramp::stats
