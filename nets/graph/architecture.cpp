#include "nets/graph/architecture.h"

#include "base/errors.h"

namespace offramp::nets {
namespace {

LayerEffect effect_of(const Map& map, const std::vector<Extent>& in) {
  const std::size_t paths = map.paths.size();
  const bool sum = map.join == Join::kAdd || map.join == Join::kAddRelu;
  if (paths == 0 || (map.join == Join::kFirst && paths != 1) || (sum && paths != 2)) {
    throw ValueError(std::string("map: expected ") +
                     (sum                        ? "two paths for a sum"
                      : map.join == Join::kFirst ? "one path where nothing is joined"
                                                 : "at least one path") +
                     ", got " + std::to_string(paths));
  }
  LayerEffect total = effect_of(map.paths[0], in);
  for (std::size_t p = 1; p < paths; ++p) {
    const LayerEffect other = effect_of(map.paths[p], in);
    total.cost += other.cost;
    if (sum && other.out != total.out) {
      throw ShapeError("residual block: expected a shortcut of " + to_string(total.out) + ", got " +
                       to_string(other.out));
    }
    if (!sum && (other.out.h != total.out.h || other.out.w != total.out.w)) {
      throw ShapeError("concatenation: expected maps of equal sides, got " + to_string(total.out) + " and " +
                       to_string(other.out));
    }
    if (!sum) total.out.c += other.out.c;
  }
  // The sum itself is not counted.
  if (map.join == Join::kAddRelu) total.cost.ops_profiler += total.out.size();
  return total;
}

}  // namespace

const BatchNorm* norm_with_sum(const Map& map) {
  const bool sum = map.join == Join::kAdd || map.join == Join::kAddRelu;
  if (!sum || map.paths[0].layers.empty()) return nullptr;
  const auto* norm = std::get_if<BatchNorm>(&map.paths[0].layers.back());
  return norm && !norm->relu ? norm : nullptr;
}

Block chain(std::vector<Layer> layers) { return {{Map{{Path{0, std::move(layers)}}}}}; }

Block residual(std::vector<Layer> layers, std::vector<Layer> shortcut, Join join) {
  return {{Map{{Path{0, std::move(layers)}, Path{0, std::move(shortcut)}}, join}}};
}

LayerEffect effect_of(const std::vector<Layer>& layers, const Extent& in) {
  LayerEffect total{in, {}};
  for (const Layer& layer : layers) {
    const LayerEffect one = effect_of(layer, total.out);
    total.out = one.out;
    total.cost += one.cost;
  }
  return total;
}

LayerEffect effect_of(const Path& path, const std::vector<Extent>& in) {
  if (path.from < 0 || path.from >= static_cast<int>(in.size())) {
    throw ValueError("path: expected to begin at map 0 to " + std::to_string(in.size() - 1) +
                     " of the block before, got " + std::to_string(path.from));
  }
  return effect_of(path.layers, in[static_cast<std::size_t>(path.from)]);
}

BlockEffect effect_of(const Block& block, const std::vector<Extent>& in) {
  if (block.maps.empty()) throw ValueError("block: expected at least one map, got none");
  BlockEffect total;
  for (const Map& map : block.maps) {
    const LayerEffect one = effect_of(map, in);
    total.out.push_back(one.out);
    total.cost += one.cost;
  }
  return total;
}

BlockEffect stem_effect(const Architecture& arch) {
  if (arch.inputs.empty()) throw ValueError("net " + arch.name + ": expected at least one input, got none");
  const LayerEffect stem = effect_of(arch.stem, arch.inputs[0]);
  BlockEffect effect{arch.inputs, stem.cost};
  effect.out[0] = stem.out;
  return effect;
}

}  // namespace offramp::nets
