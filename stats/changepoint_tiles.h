// The O(n^2) core of changepoint.cpp: for a row i, segment evidences of [i, e) for eight ends e at a time.
// Everything is in log2, so that a pair costs one log2 and one exp2 without conversions:
//   term(i, e) = C(len) - (a0 + len/2) log2 bn + X(e),   len = e - i,
//   bn = b0 + (S2 - S1^2/len)/2 + k0 len (ybar - mu0)^2 / (2 kn)   from prefix sums S1, S2,
// with C(len) holding lgamma terms and the length prior. Included by changepoint.cpp only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <span>
#include <vector>

#include "stats/changepoint.h"
#include "stats/checks.h"
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
      s2_[p + 1] = static_cast<double>(sum2 / 2);
    }
    if (!std::isfinite(s2_[n_])) {
      throw DataError("changepoints: the values are too large to square (sum of squares overflows)");
    }
    constant_.assign(kFront + n_ + 1 + kLanes, kNever);
    inverse_.assign(kFront + n_ + 1 + kLanes, 0.0);
    half_.assign(kFront + n_ + 1 + kLanes, 0.0);
    plain_.assign(n_ + 1, kNever);
    mass_.assign(n_ / kChunk + 1, kNever);
    weight_.assign(shifted_ ? kFront + n_ + 1 + kLanes : 0, 0.0);
    for (std::size_t m = 1; m <= n_; ++m) {
      const double len = static_cast<double>(m), kn = prior.k0 + len;
      const double mass = std::max(length.log_mass[m] * std::numbers::log2e, kNever);
      plain_[m] = constant_without_prior(len);
      mass_[m / kChunk] = std::max(mass_[m / kChunk], mass);
      constant_[kFront + m] = plain_[m] + mass;
      half_[kFront + m] = prior.a0 + 0.5 * len;
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
      excess = d2 - 0.5 * d1 * d1 / len + 0.5 * prior_.k0 * len / (prior_.k0 + len) * off * off;
    } else {
      excess = d2 - 0.5 * d1 * d1 / (prior_.k0 + len);
    }
    return constant_without_prior(len) -
           (prior_.a0 + 0.5 * len) * std::log2(prior_.b0 + std::max(excess, 0.0));
  }

  // An upper bound, but for x, of every term (row, e) with first <= row < last <= begin <= e < end <= n + 1.
  // bn is the least of k0 (mu - mu0)^2 + sum (y - mu)^2 over mu, halved, plus b0, so it grows with the
  // segment: bn >= the bn of [last - 1, begin), the smallest here. With that constant, C(len) - (a0 + len/2)
  // log2 bn without the length prior is a sum of lgamma, -log and a line, convex in len: its largest value
  // lies at an end.
  double bound(std::size_t first, std::size_t last, std::size_t begin, std::size_t end) const {
    const std::size_t shortest = begin - (last - 1), longest = std::min(end - 1, n_) - first;
    const double d1 = s1_[begin] - s1_[last - 1], d2 = s2_[begin] - s2_[last - 1];
    const double inv = inverse_[kFront + shortest], off = shifted_ ? 2 * inv * d1 + shift_ : 0;
    const double w = shifted_ ? weight_[kFront + shortest] : 0;
    // What rounding may have moved: half an ulp of each prefix sum and a few operations on them.
    const double sum1 = std::abs(s1_[begin]) + std::abs(s1_[last - 1]);
    const double error = 8 * std::numeric_limits<double>::epsilon() *
                         (s2_[begin] + (std::abs(d1) * inv + w * std::abs(off) * inv) * sum1 + w * off * off);
    const double bits = std::log2(prior_.b0 + std::max(d2 - d1 * d1 * inv + w * off * off - error, 0.0));
    double mass = kNever;
    for (std::size_t part = shortest / kChunk; part <= longest / kChunk; ++part) {
      mass = std::max(mass, mass_[part]);
    }
    const auto line = [&](std::size_t len) {
      return plain_[len] - (prior_.a0 + 0.5 * static_cast<double>(len)) * bits;
    };
    return std::max(line(shortest), line(longest)) + mass + 1;  // 1: rounding of sums of up to 2^50 bits
  }

  // f(index, terms) for packs of vectors of ends that cover [begin, end); begin is rounded down to a whole
  // vector, and the packs hold kInStep vectors or one.
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
    std::size_t e = begin & ~(kLanes - 1);
    for (; e + (kInStep - 1) * kLanes < end; e += kInStep * kLanes) {
      f(e, terms_at<kShifted, kInStep>(row, e, x));
    }
    for (; e < end; e += kLanes) {
      f(e, terms_at<kShifted, 1>(row, e, x));
    }
  }

  template <bool kShifted, std::size_t U>  // a call in the loop would pass the pack through memory
  [[gnu::always_inline]] Pack<U> terms_at(std::size_t row, std::size_t e, const double* x) const {
    const std::size_t by_length = kFront - row + e;
    const Pack<U> d1 = load_pack<U>(&s1_[e]) - splat(s1_[row]);
    const Pack<U> d2 = load_pack<U>(&s2_[e]) - splat(s2_[row] - prior_.b0);
    const Pack<U> inv = load_pack<U>(inverse_.data() + by_length);
    Pack<U> bn = d2 - d1 * d1 * inv;
    if constexpr (kShifted) {
      const Pack<U> off = d1 * (inv + inv) + splat(shift_);
      bn = bn + load_pack<U>(weight_.data() + by_length) * off * off;
    }
    return load_pack<U>(constant_.data() + by_length) -
           load_pack<U>(half_.data() + by_length) * log2(max(bn, splat(prior_.b0))) + load_pack<U>(x + e);
  }

  std::size_t n_;
  NormalGammaPrior prior_;
  bool shifted_ = false;
  double shift_ = 0;
  std::vector<double> s1_, s2_;  // prefix sums of the values and of half their squares, 0..n
  std::vector<double> constant_, half_, inverse_, weight_;  // by length, kFront entries in front
  std::vector<double> plain_;                               // by length: constant_ without the length prior
  std::vector<double> mass_;                                // its largest log2 mass in each kChunk lengths
};

// One accumulator for each vector of a pack.
struct Accumulators {
  Vec v[kInStep];

  static Accumulators filled(double x) {
    Accumulators a;
    for (Vec& lane : a.v) {
      lane = splat(x);
    }
    return a;
  }
  Vec highest() const {
    Vec top = v[0];
    for (std::size_t u = 1; u < kInStep; ++u) {
      top = max(top, v[u]);
    }
    return top;
  }
  Vec total() const {
    Vec sum = v[0];
    for (std::size_t u = 1; u < kInStep; ++u) {
      sum += v[u];
    }
    return sum;
  }
};

// sum 2^terms as scale and mantissa: one pass, and a second over a chunk only when its terms leave the range
// in which the guessed scale is safe. Every term it is given is counted; none is dropped but by 2^-1021
// underflow.
struct LogSum {
  double scale = 0, sum = 0, best = kNever;
  std::size_t best_begin = 0;  // of the chunk that held the largest term

  void add(const EvidenceTiles& tiles, std::size_t row, std::size_t begin, std::size_t end, const double* x) {
    for (;;) {
      Accumulators top = Accumulators::filled(2 * kNever), part = Accumulators::filled(0);
      const Vec s = splat(scale);
      tiles.for_terms(row, begin, end, x, [&]<std::size_t U>(std::size_t, const Pack<U>& term) {
        const Pack<U> power = exp2_below(term - s);  // what exceeds 1023 is caught below and summed again
        for (std::size_t u = 0; u < U; ++u) {
          top.v[u] = max(top.v[u], term.v[u]);
          part.v[u] += power.v[u];
        }
      });
      const double highest = max_lanes(top.highest());
      const bool unseen = best < scale - kHeadroom;
      if (highest > scale + kHeadroom || (unseen && highest < scale - kHeadroom && highest > kNever / 2)) {
        sum = unseen ? 0 : sum * std::exp2(scale - highest);
        scale = highest;
        continue;
      }
      if (highest > best) {
        best = highest;
        best_begin = begin;
      }
      sum += sum_lanes(part.total());
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
