#pragma once
// What a net is made of, before it has memory: a stem, blocks, exits behind some of the blocks, and the end.
//
// Between two blocks lie one or more maps. A block makes each of its maps from paths, and a path begins at one
// map of the block before:
//   a chain           one map, one path                                        VGG, MobileNet, FCN
//   a residual block  one map, two paths, their sum                            ResNet, WideResNet, MobileNetV2
//   several scales    a map per scale; paths from its own and the finer scale  MSDNet
//   several inputs    block 0 has a path per input, concatenated               classifiers of attacks
// A path without layers passes a map on as it is.
#include <cstdint>
#include <string>
#include <vector>

#include "nets/graph/layers.h"

namespace offramp::nets {

struct Path {
  int from = 0;  // map of the block before; for the first block: input of the net
  std::vector<Layer> layers = {};
};

// How the ends of a map's paths become the map.
enum class Join {
  kFirst,    // there is one path
  kConcat,   // channels of all paths, in their order
  kAdd,      // WideResNet: the sum of two paths
  kAddRelu,  // ResNet: relu(sum of two paths)
};
// Of a sum paths[0] are the layers and paths[1] the shortcut; where the layers end with a BatchNorm, its op does
// the sum and the ReLU too.
struct Map {
  std::vector<Path> paths;
  Join join = Join::kFirst;
};

// That BatchNorm, or null.
const BatchNorm* norm_with_sum(const Map& map);

struct Block {
  std::vector<Map> maps;
};
Block chain(std::vector<Layer> layers);
Block residual(std::vector<Layer> layers, std::vector<Layer> shortcut, Join join);

// An internal classifier: layers on a map of a block, down to logits.
struct Exit {
  int after_block = 0;
  Path path = {};
};

struct Architecture {
  std::string name;
  std::vector<Extent> inputs;  // of one sample
  bool pixels = true;          // input 0 is an image in [0,1], normalised by the first layer
  int classes = 0;
  std::vector<Layer> stem = {};  // on input 0; further inputs go to block 0 as they are
  std::vector<Block> blocks = {};
  std::vector<Exit> exits = {};  // internal classifiers, by rising after_block; the end is one exit more
  Path end = {};

  int num_exits() const { return static_cast<int>(exits.size()) + 1; }
};

// Calls f(layer, exit) for every layer in the order of the reference modules: stem, blocks (of each map its
// paths) and then their exit, end. `exit` is 0 for the trunk (the end included), e for internal classifier e.
template <class Arch, class F>
void for_each_layer(Arch& arch, F f) {
  for (auto& layer : arch.stem) f(layer, 0);
  std::size_t exit = 0;
  for (std::size_t b = 0; b < arch.blocks.size(); ++b) {
    for (auto& map : arch.blocks[b].maps) {
      for (auto& path : map.paths) {
        for (auto& layer : path.layers) f(layer, 0);
      }
    }
    if (exit < arch.exits.size() && arch.exits[exit].after_block == static_cast<int>(b)) {
      auto& layers = arch.exits[exit++].path.layers;
      for (auto& layer : layers) f(layer, static_cast<int>(exit));
    }
  }
  for (auto& layer : arch.end.layers) f(layer, 0);
}

// Shape inference of parts; throw ShapeError with the name of the layer that does not fit, or of what cannot be
// joined, and ValueError for a path or join that cannot be.
LayerEffect effect_of(const std::vector<Layer>& layers, const Extent& in);
LayerEffect effect_of(const Path& path, const std::vector<Extent>& in);
struct BlockEffect {
  std::vector<Extent> out;  // of each map
  Cost cost;
};
BlockEffect effect_of(const Block& block, const std::vector<Extent>& in);
// The same for the stem: what block 0 takes.
BlockEffect stem_effect(const Architecture& arch);

}  // namespace offramp::nets
