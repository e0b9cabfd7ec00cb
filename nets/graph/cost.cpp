#include "nets/graph/cost.h"

namespace offramp::nets {

NetCosts costs_of(const Architecture& arch) {
  NetCosts costs;
  const LayerEffect stem = effect_of(arch.stem, arch.input);
  Extent extent = stem.out;
  Cost trunk = stem.cost, classifiers;
  std::vector<Cost> after_block;
  std::size_t exit = 0;
  for (std::size_t b = 0; b < arch.blocks.size(); ++b) {
    const LayerEffect block = effect_of(arch.blocks[b], extent);
    extent = block.out;
    trunk += block.cost;
    after_block.push_back(trunk);
    if (exit < arch.exits.size() && arch.exits[exit].after_block == static_cast<int>(b)) {
      classifiers += effect_of(arch.exits[exit].layers, extent).cost;
      costs.exits.push_back(trunk);
      costs.exits.back() += classifiers;
      ++exit;
    }
  }
  costs.plain = trunk;
  costs.plain += effect_of(arch.end, extent).cost;
  costs.exits.push_back(costs.plain);
  costs.exits.back() += classifiers;

  const auto fraction = [](std::int64_t part, std::int64_t whole) {
    return static_cast<double>(part) / static_cast<double>(whole);
  };
  for (const Cost& cost : after_block) {
    costs.block_fraction_macs.push_back(fraction(cost.macs, costs.plain.macs));
    costs.block_fraction_profiler.push_back(fraction(cost.ops_profiler, costs.plain.ops_profiler));
  }
  for (const Exit& e : arch.exits) {
    const auto b = static_cast<std::size_t>(e.after_block);
    costs.exit_fraction_macs.push_back(costs.block_fraction_macs[b]);
    costs.exit_fraction_profiler.push_back(costs.block_fraction_profiler[b]);
  }
  costs.exit_fraction_macs.push_back(1);
  costs.exit_fraction_profiler.push_back(1);
  return costs;
}

}  // namespace offramp::nets
