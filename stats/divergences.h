// Divergences between discrete distributions and between binned samples (specs/membership.md 8).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace offramp::stats {

enum class LogBase { kBits, kNats };

// sum p ln(p/q); infinity where q is 0 and p is not. Inputs are weights >= 0 and are normalised.
// ValueError: lengths differ, a negative or non-finite weight, a sum of 0.
double kl_divergence(std::span<const double> p, std::span<const double> q, LogBase base = LogBase::kBits);

// KL(p||m)/2 + KL(q||m)/2, m = (p+q)/2: the divergence (not its root), 0..1 in bits.
double js_divergence(std::span<const double> p, std::span<const double> q, LogBase base = LogBase::kBits);

struct BinnedPair {
  std::vector<double> first, second;  // counts
  double top = 0;                     // upper edge of the last bin before the overflow joins it
};

// `bins` equal bins on [0, top], top the 99.5 % quantile of the pooled values; what lies above joins the last
// bin. Values must be finite and >= 0 (losses); both samples non-empty; bins >= 1. All values 0: everything
// in bin 0.
BinnedPair bin_losses(std::span<const double> first, std::span<const double> second, std::size_t bins = 100);

// JS divergence of two loss samples with that binning. Of few losses it is large whatever they are: see below.
double loss_js_divergence(std::span<const double> members,
                          std::span<const double> non_members,
                          std::size_t bins = 100,
                          LogBase base = LogBase::kBits);

// The same in bits beside what samples of these sizes give where both sides are drawn from one: the losses dealt out anew
// `permutations` times.
struct LossDivergence {
  double js_bits = 0;
  double by_chance = 0;  // mean of the permutations
  double p_value = 1;    // share of them (this one among them) that are as large
};
// ValueError: no permutation. DataError: as bin_losses.
LossDivergence loss_divergence_test(std::span<const double> members,
                                    std::span<const double> non_members,
                                    std::size_t bins = 100,
                                    std::size_t permutations = 200,
                                    std::uint64_t seed = 1);

}  // namespace offramp::stats
