// The nine deciles of two samples and RTLF's test of their differences (Dunsche et al., "With Great Power Come Great Side
// Channels", USENIX Security 2024): thresholds by bootstrap within a class. It takes measurements for independent; where
// they may not be, timing_verdict.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace offramp::stats {

inline constexpr std::size_t kDeciles = 9;
using Deciles = std::array<double, kDeciles>;  // .1, .2, .. .9

// Quantiles of type 2 of Hyndman and Fan (R: quantile(type = 2)): the inverse of the empirical distribution, the mean of both
// neighbours where it jumps there. DataError: empty, or not finite.
Deciles deciles(std::span<const double> sample);

struct DecileTest {
  Deciles difference{};  // |decile of a - decile of b|
  Deciles threshold{};   // the larger of both classes'
  std::array<bool, kDeciles> flagged{};
  bool leaks = false;  // some decile's difference exceeds its threshold
};
struct DecileTestOptions {
  double alpha = 0.09;  // of any false alarm; alpha / 9 a decile
  std::size_t resamples = 10000;
  std::uint64_t seed = 1;
  unsigned threads = 0;
};
// Each resample draws two samples of the smaller class's size from one class. Same result for any thread count. DataError as
// `deciles`; ValueError: alpha outside (0, 1), no resamples.
DecileTest decile_test(std::span<const double> a,
                       std::span<const double> b,
                       const DecileTestOptions& options = {});

}  // namespace offramp::stats
