#pragma once
// Small nets and random images for the tests of this room.
#include <cstdint>
#include <memory>
#include <string>

#include "base/errors.h"
#include "kernels/philox.h"
#include "nets/graph/network.h"

namespace offramp::test {

inline constexpr const char* kFamilies[] = {
    "vgg-16", "resnet-8", "mobilenet", "wrn-32-4", "small-cnn", "fcn-18-1"};

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
