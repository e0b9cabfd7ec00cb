#pragma once
// What a family's file makes: the plain net. build() adds the exits. Names of layers are those of the reference
// modules' state dicts (specs: networks, last section).
#include <string>
#include <vector>

#include "nets/graph/architecture.h"
#include "nets/graph/options.h"

namespace offramp::nets {

// A plain net and what build() needs to put exits on it.
struct Backbone {
  Architecture plain;
  std::vector<int> sdn_positions, ccs_positions;  // empty: the papers have none for this net
  std::vector<Exit> own_exits;  // of a net that is made with its exits (MSDNet): no other can be placed on it
  Init exit_init = Init::kFanIn;
  int exit_hidden = 512;  // of two-layer exits, before the width divisor
};

namespace parts {
// Channels or features after the width divisor, at least 1.
int scaled(const NetOptions& options, int width);
std::string block(int index);  // "layers.3"
// Linear layers of the end or of an exit from the flattened map to the classes: one, named `first`, or, where
// hidden > 0, two with a dropout between, named `first` and `second`.
void append_classifier(std::vector<Layer>& layers,
                       const std::string& first,
                       const std::string& second,
                       const Extent& flattened,
                       int hidden,
                       int classes,
                       Init init);
}  // namespace parts

}  // namespace offramp::nets
