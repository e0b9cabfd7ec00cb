// Mutual information in bits: how much a running time says about the exit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace offramp::stats {

struct MutualInformation {
  double plug_in = 0;  // sum p(x,y) log2(p(x,y) / (p(x) p(y))), biased upward
  // Minus Miller and Madow's bias (occupied cells - rows - columns + 1) / (2 n ln 2); from 0 to the smaller entropy.
  double corrected = 0;
  // Entropies of the two: no more can be said about the second than the smaller of them.
  double of_first = 0, of_labels = 0;
};

// Two label sequences of any integer values. ValueError: lengths differ or nothing given.
MutualInformation mutual_information(std::span<const std::size_t> x, std::span<const std::size_t> y);

// A continuous x (time) cut into at most `bins` bins of equal count; equal values share a bin. 0: as many as leave each 20
// values, 2 to 64: with fewer the correction no longer takes the bias away.
MutualInformation mutual_information(std::span<const double> x,
                                     std::span<const std::size_t> y,
                                     std::size_t bins = 0);

// Share of `rounds` random permutations of y whose plug-in information reaches the observed one, (hits + 1) /
// (rounds + 1): a p-value for "time and exit are independent".
double independence_p_value(std::span<const double> x,
                            std::span<const std::size_t> y,
                            std::size_t bins = 0,
                            std::size_t rounds = 999,
                            std::uint64_t seed = 1);

}  // namespace offramp::stats
