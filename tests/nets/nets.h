#pragma once
// Small nets and random images for the tests of this room.
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>

#include "base/errors.h"
#include "kernels/philox.h"
#include "nets/families/families.h"
#include "nets/graph/network.h"
#include "tests/support/close.h"

namespace offramp::test {

// A net of every family.
inline const std::vector<const char*> kFamilies = [] {
  std::vector<const char*> names;
  for (const nets::Family& family : nets::families()) names.push_back(family.example);
  return names;
}();

// A member of the family that runs in milliseconds: an eighth of the width, four exits, five classes.
inline nets::NetOptions small_options(const std::string& name) {
  nets::NetOptions o;
  o.name = name;
  o.classes = 5;
  o.width_divisor = name == "resnet-8" ? 2 : name == "fcn-18-1" ? 32 : 8;
  if (name == "resnet-8") {
    o.num_exits = 3;
  } else if (name == "fcn-18-1") {
    o.features = 13;
    o.placement = nets::Placement::kCcs;
  }
  return o;
}

inline std::unique_ptr<nets::Network> drawn(const nets::NetOptions& options, std::uint64_t seed) {
  auto net = std::make_unique<nets::Network>(options, Device::cpu());
  nets::initialize(*net, seed);
  return net;
}

// Uniform values in [0,1), [n,c,h,w] or [n,c] for rows of features.
inline Tensor pixels(const nets::Extent& input, int n, std::uint64_t seed) {
  const Shape shape = input.h == 1 && input.w == 1 ? Shape{n, input.c} : Shape{n, input.c, input.h, input.w};
  std::vector<float> values(static_cast<std::size_t>(shape.size()));
  const PhiloxKey key{seed, 77, 0, 0};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = key.uniform(i);
  return Tensor::from<float>(shape, values, Device::cpu());
}

// How far two float32 passes through a net may be apart, relative to the largest value of a tensor that they
// make (first order). A layer that sums `length` products perturbs its result by sum_bound, relative to the
// sum of absolute products, and what comes in with a perturbation goes out with it: along the path they add
// up. Lengths: of a convolution its filter, of a linear layer its input, of a batch norm the samples and
// pixels (input at most `side` x `side`). `passes`: 1 forward, 3 with the gradients of inputs and weights,
// whose sums run over samples and pixels.
inline double pass_bound(const nets::Architecture& arch, int batch, int passes) {
  double roots = 0;
  const double positions = static_cast<double>(batch) * arch.inputs[0].h * arch.inputs[0].w;
  for_each_layer(arch, [&](const nets::Layer& layer, int) {
    if (const auto* conv = std::get_if<nets::Conv2d>(&layer)) {
      roots += std::sqrt(static_cast<double>(conv->in / conv->groups) * conv->kernel * conv->kernel);
    } else if (const auto* linear = std::get_if<nets::Linear>(&layer)) {
      roots += std::sqrt(static_cast<double>(linear->in));
    } else if (std::holds_alternative<nets::BatchNorm>(layer)) {
      roots += std::sqrt(positions);
    }
  });
  if (passes > 1) roots = passes * roots + std::sqrt(positions);
  return sum_bound(1, roots);
}

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace offramp::test
