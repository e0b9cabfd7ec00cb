#pragma once
// What a net is made of, before it has memory: a stem, blocks, exits behind some of the blocks, and the end.
#include <cstdint>
#include <string>
#include <vector>

#include "nets/graph/layers.h"

namespace offramp::nets {

// What a block does with its input besides its layers.
enum class Join {
  kNone,
  kAddRelu,  // ResNet: relu(layers(x) + shortcut(x)); the last layer is a BatchNorm, whose op does the sum
  kAdd,      // WideResNet: layers(x) + shortcut(x)
};

struct Block {
  std::vector<Layer> layers;
  std::vector<Layer> shortcut;  // empty: identity
  Join join = Join::kNone;
};

// An internal classifier: layers on the output of a block, down to logits.
struct Exit {
  int after_block = 0;
  std::vector<Layer> layers;
};

struct Architecture {
  Extent input;        // of one sample
  bool pixels = true;  // images in [0,1], normalised by the first layer; false: rows of features
  int classes = 0;
  std::vector<Layer> stem;
  std::vector<Block> blocks;
  std::vector<Exit> exits;  // internal classifiers, by rising after_block; the end is one exit more
  std::vector<Layer> end;

  int num_exits() const { return static_cast<int>(exits.size()) + 1; }
};

// Calls f(layer, exit) for every layer in the order of the reference modules: stem, blocks with their
// shortcuts and then their exit, end. `exit` is 0 for the trunk (the end included), e for internal classifier
// e.
template <class Arch, class F>
void for_each_layer(Arch& arch, F f) {
  for (auto& layer : arch.stem) f(layer, 0);
  int exit = 0;
  for (std::size_t b = 0; b < arch.blocks.size(); ++b) {
    for (auto& layer : arch.blocks[b].layers) f(layer, 0);
    for (auto& layer : arch.blocks[b].shortcut) f(layer, 0);
    if (exit < static_cast<int>(arch.exits.size()) &&
        arch.exits[static_cast<std::size_t>(exit)].after_block == static_cast<int>(b)) {
      ++exit;
      for (auto& layer : arch.exits[static_cast<std::size_t>(exit - 1)].layers) f(layer, exit);
    }
  }
  for (auto& layer : arch.end) f(layer, 0);
}

// Shape inference of parts; throw ShapeError with the name of the layer that does not fit.
LayerEffect effect_of(const std::vector<Layer>& layers, const Extent& in);
LayerEffect effect_of(const Block& block, const Extent& in);

}  // namespace offramp::nets
