#pragma once
// A large batch on the CPU in parts, whose activations the cache holds from layer to layer. The answers have the same bits.
#include <vector>

#include "nets/exits/segmented.h"

namespace offramp::nets {

// The rows of x in order, cut into batches of net.rows_together(); on a device all in one. x: at least one tensor, all of
// as many rows.
std::vector<Features> in_cache_sized_parts(const SegmentedNet& net, const Features& x);

}  // namespace offramp::nets
