#pragma once
// What a net costs per exit for one sample, in integers, from shapes alone (specs: networks 5).
#include <vector>

#include "nets/graph/architecture.h"

namespace offramp::nets {

struct NetCosts {
  // Cumulative at each exit: everything up to it, every earlier internal classifier included.
  std::vector<Cost> exits;
  // The same net without internal classifiers.
  Cost plain;
  // Stem and blocks up to and including each block, over the plain net (its end included).
  std::vector<double> block_fraction_macs, block_fraction_profiler;
  // The same at each exit; 1 for the last. What the loss weights and relative costs of an exit mean.
  std::vector<double> exit_fraction_macs, exit_fraction_profiler;
};

// Infers every shape on the way: throws ShapeError or ValueError where parts do not fit.
NetCosts costs_of(const Architecture& arch);

}  // namespace offramp::nets
