#pragma once
// The second half of sums that are cut into parts: adds the parts up, in order.
#include "kernels/backend.h"

namespace offramp::cuda {

// out[i] = or += sum over p of part[p * n + i].
void add_parts(Context& ctx, std::int64_t n, int parts, const float* part, float* out, Write write);

}  // namespace offramp::cuda
