// The O(n^2) core of changepoint.cpp: for a row i, segment evidences of [i, e) for eight ends e at a time.
// Everything is in log2, so that a pair costs one log2 and one exp2 without conversions:
//   term(i, e) = C(len) - (a0 + len/2) log2 bn + X(e),   len = e - i,
//   bn = b0 + (S2 - S1^2/len)/2 + k0 len (ybar - mu0)^2 / (2 kn)   from prefix sums S1, S2,
// with C(len) holding lgamma terms and the length prior. Included by changepoint.cpp only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <span>
#include <vector>

#include "stats/changepoint.h"
#include "stats/errors.h"
#include "stats/simd.h"

namespace offramp::stats {
namespace {

constexpr double kNever = -1e300;    // log2 of a term that must not count
constexpr std::size_t kChunk = 512;  // ends handled before the scale of the sum is checked
constexpr std::size_t kFront = kLanes;
constexpr double kHeadroom = 400;  // bits between a scale and the terms it may meet

class EvidenceTiles {
 public:
  // Reversed = the same data read from the end, which turns the forward recursion into the backward one.
  enum class Order { kForward, kReversed };

  EvidenceTiles(std::span<const double> y,
                const NormalGammaPrior& prior,
                const LengthPrior& length,
                Order order)
      : n_(y.size()), prior_(prior) {
    long double total = 0;
    for (const double v : y) {
      total += v;
    }
    const double mean = static_cast<double>(total / static_cast<long double>(n_));
    double spread = 0;
    for (const double v : y) {
      spread += (v - mean) * (v - mean);
    }
    // Around mu0 the two squares of bn collapse into one; only a mu0 far from the data needs them apart.
    shifted_ = (mean - prior.mu0) * (mean - prior.mu0) * static_cast<double>(n_) > 16 * spread;
    const double centre = shifted_ ? mean : prior.mu0;
    shift_ = mean - prior.mu0;
    s1_.assign(n_ + 1 + kLanes, 0.0);
    s2_.assign(n_ + 1 + kLanes, 0.0);
    long double sum1 = 0, sum2 = 0;  // 64-bit mantissas: the prefix sums carry no accumulated error
    for (std::size_t p = 0; p < n_; ++p) {
      const long double z = static_cast<long double>(y[order == Order::kForward ? p : n_ - 1 - p]) -
                            static_cast<long double>(centre);
      sum1 += z;
      sum2 += z * z;
      s1_[p + 1] = static_cast<double>(sum1);
      s2_[p + 1] = static_cast<double>(sum2);
    }
    if (!std::isfinite(s2_[n_])) {
      throw ValueError("changepoints: the values are too large to square (sum of squares overflows)");
    }
    constant_.assign(kFront + n_ + 1 + kLanes, kNever);
    inverse_.assign(kFront + n_ + 1 + kLanes, 0.0);
    weight_.assign(shifted_ ? kFront + n_ + 1 + kLanes : 0, 0.0);
    for (std::size_t m = 1; m <= n_; ++m) {
      const double len = static_cast<double>(m), kn = prior.k0 + len;
      constant_[kFront + m] = constant_without_prior(len) + length.log_mass[m] * std::numbers::log2e;
      inverse_[kFront + m] = shifted_ ? 0.5 / len : 0.5 / kn;
      if (shifted_) {
        weight_[kFront + m] = 0.5 * prior.k0 * len / kn;
      }
    }
  }

  std::size_t size() const { return n_; }

  // log2 evidence of [begin, end), without any length prior.
  double log2_evidence(std::size_t begin, std::size_t end) const {
    const double len = static_cast<double>(end - begin), d1 = s1_[end] - s1_[begin];
    const double d2 = s2_[end] - s2_[begin];
    double excess = 0;
    if (shifted_) {
      const double off = d1 / len + shift_;
      excess = 0.5 * (d2 - d1 * d1 / len) + 0.5 * prior_.k0 * len / (prior_.k0 + len) * off * off;
    } else {
      excess = 0.5 * (d2 - d1 * d1 / (prior_.k0 + len));
    }
    return constant_without_prior(len) -
           (prior_.a0 + 0.5 * len) * std::log2(prior_.b0 + std::max(excess, 0.0));
  }

  // f(index, term) for the vectors of ends that cover [begin, end); begin is rounded down to a whole vector.
  // Ends <= row and ends beyond n give terms <= kNever / 2; x must hold kNever from n + 1 on.
  template <class F>
  void for_terms(std::size_t row, std::size_t begin, std::size_t end, const double* x, F f) const {
    if (shifted_) {
      terms<true>(row, begin, end, x, f);
    } else {
      terms<false>(row, begin, end, x, f);
    }
  }

 private:
  double constant_without_prior(double len) const {
    const double an = prior_.a0 + 0.5 * len;
    return (std::lgamma(an) - std::lgamma(prior_.a0) + prior_.a0 * std::log(prior_.b0) +
            0.5 * (std::log(prior_.k0) - std::log(prior_.k0 + len)) -
            0.5 * len * std::log(2 * std::numbers::pi)) *
           std::numbers::log2e;
  }

  template <bool kShifted, class F>
  void terms(std::size_t row, std::size_t begin, std::size_t end, const double* x, F f) const {
    begin &= ~(kLanes - 1);
    const Vec s1 = splat(s1_[row]), s2 = splat(s2_[row]), b0 = splat(prior_.b0), shift = splat(shift_);
    const Vec lane = {0, 1, 2, 3, 4, 5, 6, 7};
    Vec an =
        splat(prior_.a0 + 0.5 * (static_cast<double>(begin) - static_cast<double>(row))) + lane * splat(0.5);
    const Vec an_step = splat(0.5 * static_cast<double>(kLanes));
    const double* const constant = constant_.data() + kFront - row;
    const double* const inverse = inverse_.data() + kFront - row;
    for (std::size_t e = begin; e < end; e += kLanes) {
      const Vec d1 = load(&s1_[e]) - s1, d2 = load(&s2_[e]) - s2, inv = load(inverse + e);
      Vec excess = d2 * splat(0.5) - d1 * d1 * inv;
      if constexpr (kShifted) {
        const Vec off = d1 * (inv + inv) + shift;
        excess += load(weight_.data() + kFront - row + e) * off * off;
      }
      const Vec bn = b0 + max(excess, splat(0.0));
      f(e, load(constant + e) - an * log2(bn) + load(x + e));
      an += an_step;
    }
  }

  std::size_t n_;
  NormalGammaPrior prior_;
  bool shifted_ = false;
  double shift_ = 0;
  std::vector<double> s1_, s2_;                      // prefix sums, 0..n
  std::vector<double> constant_, inverse_, weight_;  // by length, kFront entries in front
};

// sum 2^terms as scale and mantissa: one pass, and a second over a chunk only when its terms leave the range
// in which the guessed scale is safe. Every term is counted; none is dropped but by 2^-1021 underflow.
struct LogSum {
  double scale, sum = 0, best = kNever;

  explicit LogSum(double guess) : scale(guess) {}

  void add(const EvidenceTiles& tiles, std::size_t row, std::size_t begin, std::size_t end, const double* x) {
    for (;;) {
      Vec top = splat(2 * kNever), part = splat(0.0);
      const Vec s = splat(scale);
      tiles.for_terms(row, begin, end, x, [&](std::size_t, Vec term) {
        top = max(top, term);
        part += exp2_below(term - s);  // what exceeds 1023 is caught below and summed again
      });
      const double highest = max_lanes(top);
      const bool unseen = best < scale - kHeadroom;
      if (highest > scale + kHeadroom || (unseen && highest < scale - kHeadroom && highest > kNever / 2)) {
        sum = unseen ? 0 : sum * std::exp2(scale - highest);
        scale = highest;
        continue;
      }
      best = std::max(best, highest);
      sum += sum_lanes(part);
      return;
    }
  }
  void add_one(double term) {
    if (best < scale - kHeadroom) {  // nothing but masked terms so far
      scale = term;
      sum = 0;
    } else if (term > scale + kHeadroom) {
      sum *= std::exp2(scale - term);
      scale = term;
    }
    best = std::max(best, term);
    sum += std::exp2(term - scale);
  }
  double log2() const { return scale + std::log2(sum); }
};

}  // namespace
}  // namespace offramp::stats
