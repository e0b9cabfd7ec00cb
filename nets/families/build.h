#pragma once
// The nets of specs/networks.md 2, plain and with exits.
#include "nets/graph/architecture.h"
#include "nets/graph/options.h"

namespace offramp::nets {

// Throws ValueError for an unknown name, classes below 2, a side the net was not made for, or exits that do
// not fit; ShapeError where a layer does not fit its input.
Architecture build(const NetOptions& options);

}  // namespace offramp::nets
