// Deciles of a resample without sorting it: how often each value of the sorted sample was drawn.
#pragma once

#include "stats/timing/deciles.h"

#include <cstdint>
#include <random>
#include <vector>

namespace offramp::stats {

// sorted: ascending values; times[i]: how often value i was drawn; total: their sum, at least 1.
inline Deciles deciles_of_counts(std::span<const double> sorted,
                                 std::span<const std::uint32_t> times,
                                 std::uint64_t total) {
  Deciles out{};
  std::uint64_t below = 0;
  std::size_t i = 0;
  for (std::size_t d = 0; d < kDeciles; ++d) {
    // Type 2: with n p a whole number j the mean of the j-th and the next value, else the ceil(n p)-th.
    const std::uint64_t np10 = total * (d + 1), j = np10 / 10;
    const bool whole = np10 % 10 == 0;
    const std::uint64_t rank = whole ? j : j + 1;  // from 1
    while (below + times[i] < rank) below += times[i++];
    out[d] = sorted[i];
    if (whole && below + times[i] == rank) {
      std::size_t next = i + 1;
      while (times[next] == 0) ++next;
      out[d] = 0.5 * (sorted[i] + sorted[next]);
    }
  }
  return out;
}

// The same of ascending values, each drawn once; at least one.
inline Deciles deciles_of_sorted(std::span<const double> sorted) {
  Deciles out{};
  for (std::size_t d = 0; d < kDeciles; ++d) {
    const std::size_t np10 = sorted.size() * (d + 1), j = np10 / 10;
    out[d] = np10 % 10 == 0 ? 0.5 * (sorted[j - 1] + sorted[j]) : sorted[j];
  }
  return out;
}

// A generator of its own for part `number` of a computation with `seed`.
inline std::mt19937_64 generator_of(std::uint64_t seed, std::uint64_t number) {
  const auto mixed = [](std::uint64_t x) {  // splitmix64
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
  };
  return std::mt19937_64(mixed(mixed(seed) ^ number));
}
// Uniform on 0 .. n - 1; its bias is n / 2^64.
inline std::size_t draw_below(std::mt19937_64& rng, std::size_t n) {
  return static_cast<std::size_t>((static_cast<unsigned __int128>(rng()) * n) >> 64);
}

}  // namespace offramp::stats
