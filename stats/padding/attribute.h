// Padding against an attribute of the input instead of the exit: what the time tells about A, I(A; S) <= I(K; S)
// (specs/audit.md 3).
#pragma once

#include "stats/padding/groupings.h"

namespace offramp::stats {

struct AttributeExits {
  std::vector<double> times;  // [K] strictly ascending
  std::vector<double>
      joint;  // [attributes, K] share of the queries with attribute a that leave at exit k, >= 0
  std::size_t attributes = 0;
};

// The exits alone. ValueError as `checked`, and where joint is not [attributes, K] or an attribute has no queries.
PaddedExits exits_of(const AttributeExits& exits);

// I(A; S) of a channel [K, K].
double attribute_bits(const AttributeExits& exits, std::span<const double> channel);

// Minimises I(A; S) + price * delay over all channels. padding.bits and lower_bound_bits are I(A; S) here; the gap
// between them is the certificate, and says how far the iteration came (it stops at 1e-9 or after `max_steps`).
Padding optimal_attribute_padding(const AttributeExits& exits, double price, int max_steps = 200000);

// Groupings that no other beats in delay and I(A; S); `bits` is I(A; S).
std::vector<Grouping> attribute_grouping_frontier(const AttributeExits& exits);

}  // namespace offramp::stats
