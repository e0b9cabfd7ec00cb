// Timing and the clock probe for the stats benchmarks.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace offramp::bench {

template <class F>
double seconds(F f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Median of repeated runs: at least `least`, more while they take less than half a second together.
template <class F>
double median_seconds(F f, std::size_t least = 5) {
  std::vector<double> times;
  double total = 0;
  while (times.size() < least || (total < 0.5 && times.size() < 200)) {
    times.push_back(seconds(f));
    total += times.back();
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

// Double-precision multiply-adds a second over `threads` threads, in GFLOP/s: the host's clock moves with its
// other tenants, so each figure stands beside this one.
inline double fma_probe(unsigned threads) {
  constexpr std::size_t kSteps = 20'000'000 / 8;
  const auto loop = [](double* out) {
    typedef double Vec __attribute__((vector_size(64)));
    const Vec scale = {.999, .998, .997, .996, .995, .994, .993, .992};
    // Ten chains hide four cycles of latency on two ports; single variables, so that they stay in registers.
    Vec a = {}, b = {}, c = {}, d = {}, e = {}, f = {}, g = {}, h = {}, i = {}, j = {};
    for (std::size_t step = 0; step < kSteps; ++step) {
      a = a * scale + scale, b = b * scale + scale, c = c * scale + scale, d = d * scale + scale;
      e = e * scale + scale, f = f * scale + scale, g = g * scale + scale, h = h * scale + scale;
      i = i * scale + scale, j = j * scale + scale;
    }
    *out = (((a + b) + (c + d)) + ((e + f) + (g + h)) + (i + j))[0];
  };
  std::vector<double> sink(threads * 8);
  const double time = seconds([&] {
    std::vector<std::thread> pool;
    for (unsigned t = 0; t < threads; ++t) pool.emplace_back(loop, &sink[t * 8]);
    for (std::thread& t : pool) t.join();
  });
  return sink[0] == 0 ? 0 : 2.0 * 8 * 10 * kSteps * threads / time * 1e-9;
}

// Little-endian doubles, as numpy's tofile writes them.
inline std::vector<double> read_doubles(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error(path + ": cannot be opened");
  std::vector<double> v(static_cast<std::size_t>(file.tellg()) / sizeof(double));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(v.data()), static_cast<std::streamsize>(v.size() * sizeof(double)));
  return v;
}

}  // namespace offramp::bench
