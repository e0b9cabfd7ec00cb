// Times of two classes under the noises that the tests and tests/bench/stats/timing_bench.cpp share. Everything follows from the seed.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "stats/timing/timing_verdict.h"

namespace offramp::test {

enum class ClassOrder { kRandom, kRuns };  // kRuns: 100 of one class, 100 of the other, ..

// AR(1) noise of deviation sigma and neighbour correlation rho; class b later by `effect`.
inline stats::ClassifiedTimes correlated_times(
    std::size_t n_each, double sigma, double rho, double effect, ClassOrder order, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  stats::ClassifiedTimes t;
  double x = normal(rng);
  for (std::size_t i = 0; i < 2 * n_each; ++i) {
    const bool b = order == ClassOrder::kRandom ? (rng() & 1) != 0 : (i / 100) % 2 != 0;
    t.ns.push_back(50000 + sigma * x + (b ? effect : 0));
    t.is_b.push_back(b ? 1 : 0);
    x = rho * x + std::sqrt(1 - rho * rho) * normal(rng);
  }
  return t;
}

// A stretch of recorded noise from `begin` on (round its end), classes drawn at random, class b later by `effect`.
inline stats::ClassifiedTimes relabelled(const std::vector<double>& noise,
                                         std::size_t n_each,
                                         double effect,
                                         std::uint64_t seed) {
  std::mt19937_64 rng(seed * 0x9E3779B97F4A7C15ull + 11);
  stats::ClassifiedTimes t;
  std::size_t at = rng() % noise.size();
  for (std::size_t i = 0; i < 2 * n_each; ++i) {
    const bool b = (rng() & 1) != 0;
    t.ns.push_back(noise[at] + (b ? effect : 0));
    t.is_b.push_back(b ? 1 : 0);
    at = at + 1 == noise.size() ? 0 : at + 1;
  }
  return t;
}

// The times of the inputs of `exit` in a file of tests/stats/traces, pass after pass: real noise of a busy machine.
inline std::vector<double> recorded_noise(const std::filesystem::path& csv, int exit) {
  std::ifstream file(csv);
  std::string line, cell;
  std::getline(file, line);
  std::vector<std::vector<double>> rows;
  while (std::getline(file, line)) {
    std::istringstream cells(line);
    std::getline(cells, cell, ',');
    if (std::stoi(cell) != exit) continue;
    rows.emplace_back();
    while (std::getline(cells, cell, ',')) rows.back().push_back(std::stod(cell));
  }
  std::vector<double> noise;
  for (std::size_t pass = 0; !rows.empty() && pass < rows[0].size(); ++pass)
    for (const auto& row : rows) noise.push_back(row[pass]);
  return noise;
}

}  // namespace offramp::test
