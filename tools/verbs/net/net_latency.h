// Time per image at each exit, as a user of batch 1 sees it.
#pragma once

#include "nets/graph/network.h"

#include <vector>

namespace offramp::tools {

// Milliseconds from pixels to the answer of exit e, batch 1, median over `images` runs on the samples of
// `batch` in turn; the net is frozen (nets/exits/frozen.h) and warmed up before. [num_exits]
std::vector<double> exit_milliseconds(const nets::Network& net, const Tensor& batch, int images);

}  // namespace offramp::tools
