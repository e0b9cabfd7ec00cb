#include "nets/graph/architecture.h"

#include "base/errors.h"

namespace offramp::nets {

LayerEffect effect_of(const std::vector<Layer>& layers, const Extent& in) {
  LayerEffect total{in, {}};
  for (const Layer& layer : layers) {
    const LayerEffect one = effect_of(layer, total.out);
    total.out = one.out;
    total.cost += one.cost;
  }
  return total;
}

LayerEffect effect_of(const Block& block, const Extent& in) {
  LayerEffect total = effect_of(block.layers, in);
  if (block.join == Join::kNone) return total;
  const LayerEffect shortcut = effect_of(block.shortcut, in);
  if (shortcut.out != total.out) {
    throw ShapeError("residual block: expected a shortcut of " + to_string(total.out) + ", got " +
                     to_string(shortcut.out));
  }
  total.cost += shortcut.cost;
  if (block.join == Join::kAddRelu)
    total.cost.ops_profiler += total.out.size();  // the sum itself is not counted
  return total;
}

}  // namespace offramp::nets
