// First values of a net (specs: networks 4). Each parameter has a Philox op of its own (its place in the
// order of declaration) and draws in the order of the file, so that the memory layout does not matter.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/philox.h"
#include "nets/graph/network.h"
#include "nets/graph/overloaded.h"
#include "nets/graph/random_streams.h"

namespace offramp::nets {
namespace {

class Drawer {
 public:
  Drawer(std::uint64_t seed, const Device& device) : seed_(seed), device_(device) {}

  void uniform(const ParameterSet::Entry& entry, std::uint32_t op, double bound) const {
    std::vector<float> disk(size_of(entry));
    for (std::size_t i = 0; i < disk.size(); i += 4) {
      const PhiloxBlock block = key(op).block(i / 4);
      for (std::size_t j = i; j < std::min(i + 4, disk.size()); ++j) {
        disk[j] = static_cast<float>(bound * (2.0 * unit(block.v[j - i]) - 1.0));
      }
    }
    store(entry, std::move(disk));
  }
  // Uniform in [0, 1), a few values.
  void unit_interval(const ParameterSet::Entry& entry, std::uint32_t op) const {
    std::vector<float> disk(size_of(entry));
    for (std::size_t i = 0; i < disk.size(); ++i) disk[i] = key(op).uniform(i);
    store(entry, std::move(disk));
  }
  // Box and Muller: block j gives elements 2j and 2j + 1.
  void normal(const ParameterSet::Entry& entry, std::uint32_t op, double deviation) const {
    std::vector<float> disk(size_of(entry));
    for (std::size_t i = 0; i < disk.size(); i += 2) {
      const PhiloxBlock block = key(op).block(i / 2);
      const double radius = deviation * std::sqrt(-2.0 * std::log(1.0 - unit(block.v[0])));
      const double angle = 2.0 * std::numbers::pi * unit(block.v[1]);
      disk[i] = static_cast<float>(radius * std::cos(angle));
      if (i + 1 < disk.size()) disk[i + 1] = static_cast<float>(radius * std::sin(angle));
    }
    store(entry, std::move(disk));
  }
  void constant(const ParameterSet::Entry& entry, float value) const {
    store(entry, std::vector<float>(size_of(entry), value));
  }

 private:
  PhiloxKey key(std::uint32_t op) const { return {seed_, streams::kInit, op, 0}; }
  static double unit(std::uint32_t word) { return word * 0x1p-32; }  // in [0, 1)
  static std::size_t size_of(const ParameterSet::Entry& entry) {
    return static_cast<std::size_t>(entry.value.size());
  }
  void store(const ParameterSet::Entry& entry, std::vector<float> disk) const {
    const std::vector<float> memory = to_memory_order(entry.info, entry.value.shape(), std::move(disk));
    Tensor value = entry.value;
    device_.upload(value.raw(), memory.data(), value.bytes());
  }

  std::uint64_t seed_;
  Device device_;
};

struct Fans {
  double in, out;
};

void draw_weight(
    const Drawer& drawer, const ParameterSet::Entry& entry, std::uint32_t op, Init init, Fans fans) {
  switch (init) {
    case Init::kHeFanOut:
      return drawer.normal(entry, op, std::sqrt(2.0 / fans.out));
    case Init::kXavierRelu:
      return drawer.uniform(entry, op, std::numbers::sqrt2 * std::sqrt(6.0 / (fans.in + fans.out)));
    case Init::kFanIn:
    case Init::kFanInZeroBias:
      return drawer.uniform(entry, op, 1.0 / std::sqrt(fans.in));
    case Init::kSmallNormal:
      return drawer.normal(entry, op, 0.01);
  }
}

}  // namespace

void initialize(Network& net, std::uint64_t seed) {
  const ParameterSet& parameters = net.parameters();
  const Drawer drawer(seed, net.device());
  const auto entry_of = [&](const std::string& name) -> const ParameterSet::Entry& {
    return *parameters.find(name);
  };
  const auto op_of = [&](const ParameterSet::Entry& entry) {
    return static_cast<std::uint32_t>(&entry - parameters.entries().data());
  };
  const auto draw = [&](const std::string& name, bool has_bias, Init init, Fans fans) {
    const ParameterSet::Entry& weight = entry_of(name + ".weight");
    draw_weight(drawer, weight, op_of(weight), init, fans);
    if (!has_bias) return;
    const ParameterSet::Entry& bias = entry_of(name + ".bias");
    if (init == Init::kFanIn) {
      drawer.uniform(bias, op_of(bias), 1.0 / std::sqrt(fans.in));
    } else {
      drawer.constant(bias, 0);
    }
  };
  for_each_layer(net.architecture(), [&](const Layer& layer, int) {
    std::visit(
        Overloaded{[&](const Conv2d& l) {
                     const double taps = l.kernel * l.kernel;
                     // Fan out is k^2 times all output channels, whatever the groups.
                     draw(l.name, l.has_bias, l.init, {taps * l.in / l.groups, taps * l.out});
                   },
                   [&](const Linear& l) {
                     draw(l.name, true, l.init, {static_cast<double>(l.in), static_cast<double>(l.out)});
                   },
                   [&](const BatchNorm& l) {
                     drawer.constant(entry_of(l.name + ".weight"), 1);
                     drawer.constant(entry_of(l.name + ".bias"), 0);
                     drawer.constant(entry_of(l.name + ".running_mean"), 0);
                     drawer.constant(entry_of(l.name + ".running_var"), 1);
                   },
                   [&](const ExitPool& l) {
                     const ParameterSet::Entry& alpha = entry_of(l.name);
                     drawer.unit_interval(alpha, op_of(alpha));
                   },
                   [](const auto&) {}},
        layer);
  });
}

}  // namespace offramp::nets
