#include "nets/graph/cost.h"

#include "base/errors.h"

namespace offramp::nets {
namespace {

// The cost of a path down to the logits.
Cost logits_of(const Architecture& arch, const Path& path, const std::vector<Extent>& in) {
  const LayerEffect effect = effect_of(path, in);
  if (effect.out != Extent{arch.classes}) {
    throw ShapeError("net " + arch.name + ": expected an exit of " + std::to_string(arch.classes) +
                     " logits, got " + to_string(effect.out));
  }
  return effect.cost;
}

}  // namespace

NetCosts costs_of(const Architecture& arch) {
  NetCosts costs;
  BlockEffect effect = stem_effect(arch);
  Cost trunk = effect.cost, classifiers;
  std::vector<Cost> after_block;
  std::size_t exit = 0;
  for (std::size_t b = 0; b < arch.blocks.size(); ++b) {
    effect = effect_of(arch.blocks[b], effect.out);
    trunk += effect.cost;
    after_block.push_back(trunk);
    if (exit < arch.exits.size() && arch.exits[exit].after_block == static_cast<int>(b)) {
      classifiers += logits_of(arch, arch.exits[exit].path, effect.out);
      costs.exits.push_back(trunk);
      costs.exits.back() += classifiers;
      ++exit;
    }
  }
  if (exit < arch.exits.size()) {
    throw ValueError("net " + arch.name + ": exits stand after rising blocks of 0 to " +
                     std::to_string(arch.blocks.size() - 1) + ", got " +
                     std::to_string(arch.exits[exit].after_block));
  }
  costs.plain = trunk;
  costs.plain += logits_of(arch, arch.end, effect.out);
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
