#pragma once
// Which net a state dict is of, where nobody says it: names and shapes of its tensors against every family.
#include <vector>

#include "nets/graph/options.h"
#include "nets/graph/state_file.h"

namespace offramp::nets {

// Nets that have all tensors of the file and no others but counters, each of its shape; normalisation is in no such file.
// Where exits stand, how they are formed, classes, channels and how widths are divided are read from names and shapes
// (exits: Placement::kExplicit); of sides that lead to the same shapes the first of 32, 28, 64, 96, 224, 16 is taken. Prefixes
// of wrappers are taken off. Empty: it is of none of the families.
std::vector<NetOptions> nets_that_fit(const StateFile& file);

}  // namespace offramp::nets
