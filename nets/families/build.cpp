#include <algorithm>
#include <cmath>

#include "base/errors.h"
#include "kernels/pool.h"
#include "nets/families/build.h"
#include "nets/families/families.h"
#include "nets/graph/cost.h"

namespace offramp::nets {
namespace {

void check(const NetOptions& o, Takes takes) {
  const auto at_least = [&](const char* what, int value, int least) {
    if (value < least) {
      throw ValueError("net " + o.name + ": " + what + " must be at least " + std::to_string(least) +
                       ", got " + std::to_string(value));
    }
  };
  at_least("classes", o.classes, 2);
  at_least("width divisor", o.width_divisor, 1);
  at_least("exits", o.num_exits, 0);
  if (takes == Takes::kRows) {
    at_least("features", o.features, 1);
    return;
  }
  at_least("channels", o.channels, 1);
  at_least("image side", o.side, 1);
  for (const auto* values : {&o.mean, &o.std}) {
    if (!values->empty() && static_cast<int>(values->size()) != o.channels) {
      throw ValueError("net " + o.name + ": normalisation wants one mean and deviation per channel (" +
                       std::to_string(o.channels) + "), got " + std::to_string(values->size()));
    }
  }
  for (const float deviation : o.std) {
    if (!(deviation > 0)) {
      throw ValueError("net " + o.name + ": deviations of pixels are above 0, got " +
                       std::to_string(deviation));
    }
  }
}

[[noreturn]] void no_such_exits(const NetOptions& o, const std::string& why) {
  const std::string wanted =
      o.num_exits == 0 ? "its own number of exits does" : std::to_string(o.num_exits) + " exits do";
  throw ValueError("net " + o.name + ": " + wanted + " not fit: " + why);
}

// The rule of specs: networks 3.3: for target k / N the block whose cumulative fraction is nearest, rising in
// k, ties to the earlier one; the last block is not eligible.
std::vector<int> equal_cost(const NetOptions& o, const Architecture& plain, int num_exits) {
  const std::vector<double> fraction = costs_of(plain).block_fraction_macs;
  const int eligible = static_cast<int>(fraction.size()) - 1;
  if (num_exits - 1 > eligible) {
    no_such_exits(o, "it has " + std::to_string(eligible) + " blocks that an exit may follow");
  }
  std::vector<int> positions;
  for (int k = 1; k < num_exits; ++k) {
    const double target = static_cast<double>(k) / num_exits;
    const int first = positions.empty() ? 0 : positions.back() + 1;
    const int last = eligible - (num_exits - k);  // leaves a block for each later exit
    int best = first;
    for (int b = first; b <= last; ++b) {
      if (std::abs(fraction[static_cast<std::size_t>(b)] - target) <
          std::abs(fraction[static_cast<std::size_t>(best)] - target)) {
        best = b;
      }
    }
    positions.push_back(best);
  }
  return positions;
}

std::vector<int> listed(const NetOptions& o, const std::vector<int>& list, bool prefix_allowed) {
  if (list.empty())
    no_such_exits(o, std::string("no ") + to_text(o.placement) + " positions are known for it");
  const int most = static_cast<int>(list.size()) + 1;
  if (o.num_exits == 0 || o.num_exits == most) return list;
  if (!prefix_allowed || o.num_exits > most) {
    no_such_exits(o,
                  std::string("the ") + to_text(o.placement) + " placement has " +
                      (prefix_allowed ? "at most " : "") + std::to_string(most));
  }
  return {list.begin(), list.begin() + (o.num_exits - 1)};
}

std::vector<int> positions(const NetOptions& o, const Backbone& net) {
  if (o.num_exits == 1) return {};
  const int blocks = static_cast<int>(net.plain.blocks.size());
  switch (o.placement) {
    case Placement::kEqualCost:
      return equal_cost(o, net.plain, o.num_exits == 0 ? 4 : o.num_exits);
    case Placement::kSdn:
      return listed(o, net.sdn_positions, false);
    case Placement::kCcs:
      return listed(o, net.ccs_positions, true);
    case Placement::kExplicit:
      break;
  }
  if (o.num_exits != 0 && o.num_exits != static_cast<int>(o.exits_after.size()) + 1) {
    no_such_exits(o, "the list of blocks has " + std::to_string(o.exits_after.size()));
  }
  for (std::size_t i = 0; i < o.exits_after.size(); ++i) {
    const int b = o.exits_after[i];
    if (b < 0 || b >= blocks || (i > 0 && b <= o.exits_after[i - 1])) {
      throw ValueError("net " + o.name + ": exits stand after rising blocks of 0 to " +
                       std::to_string(blocks - 1) + ", got " + std::to_string(b));
    }
  }
  return o.exits_after;
}

// Networks 1.1: pool to 4x4 with the mixed pool where the side is at least 4, flatten, classify.
Exit exit_after(const NetOptions& o, const Backbone& net, int block, const Extent& in) {
  const std::string name = parts::block(block) + ".output.";
  Exit exit{block};
  std::vector<Layer>& layers = exit.path.layers;
  Extent extent = in;
  if (in.h >= 4) {
    if (in.h / 4 > kMaxIndexedWindow) {  // here and not in the first forward pass
      throw ValueError("net " + o.name + ": with images of side " + std::to_string(o.side) +
                       " the exit after block " + std::to_string(block) + " pools maps of " + to_string(in) +
                       " by windows of " + std::to_string(in.h / 4) + ", at most " +
                       std::to_string(kMaxIndexedWindow) + " are computed; smaller images or a later exit");
    }
    layers.emplace_back(ExitPool{.name = name + "alpha", .k = in.h / 4});
    extent = effect_of(layers, in).out;
  }
  layers.emplace_back(Flatten{});
  const bool two_layer = o.form == ExitForm::kTwoLayer || !net.plain.pixels;
  parts::append_classifier(layers,
                           two_layer ? name + "layer_0" : name + "linear",
                           name + "layer_2",
                           extent,
                           two_layer ? parts::scaled(o, net.exit_hidden) : 0,
                           o.classes,
                           net.exit_init);
  return exit;
}

// A net that is made with its exits has these or none.
void check_own_exits(const NetOptions& o, const Backbone& net) {
  const int own = static_cast<int>(net.own_exits.size()) + 1;
  if (o.num_exits != 0 && o.num_exits != own) {
    no_such_exits(o,
                  "the net is made with " + std::to_string(own) + "; the number in its name says how many");
  }
  if (o.placement != Placement::kEqualCost || o.form != ExitForm::kLinear) {
    throw ValueError("net " + o.name + ": it is made with its exits, no placement or form can be chosen");
  }
}

}  // namespace

Architecture build(const NetOptions& o) {
  const Family& family = known_family(o.name);
  check(o, family.takes);
  Backbone net = family.make(o, family.number_in(family, o.name));
  net.plain.name = o.name;
  net.plain.classes = o.classes;
  Architecture arch = net.plain;
  std::vector<Extent> extents = stem_effect(arch).out;
  std::vector<Extent> after;
  for (const Block& block : arch.blocks) {
    extents = effect_of(block, extents).out;
    after.push_back(extents.front());
  }
  if (net.own_exits.empty()) {
    for (const int b : positions(o, net)) {
      arch.exits.push_back(exit_after(o, net, b, after[static_cast<std::size_t>(b)]));
    }
  } else if (o.num_exits != 1) {
    check_own_exits(o, net);
    arch.exits = net.own_exits;
  }
  if (arch.num_exits() > kMaxExits) {
    no_such_exits(o, "a net has at most " + std::to_string(kMaxExits));
  }
  return arch;
}

}  // namespace offramp::nets
