// The least that any padding leaks at a given mean delay: a rate-distortion function with distortion t_j - t_k, infinite
// below 0 (specs/audit.md 3). Every answer carries a certificate.
#pragma once

#include "stats/padding/padding.h"

namespace offramp::stats {

// Minimises I(K; S) + price * delay over all channels; price in bits per unit of time, >= 0. The channel's bits exceed
// lower_bound_bits by at most 1e-9, by more only where rounding forbids it: times of many orders of magnitude at a price that hardly
// matters. Deterministic.
Padding optimal_padding(const PaddedExits& exits, double price);

// The same for a mean delay of at most `delay` (>= 0): the price is found by bisection; beyond the delay of constant
// time that is the answer. lower_bound_bits holds for `delay`.
Padding optimal_padding_within(const PaddedExits& exits, double delay);

}  // namespace offramp::stats
