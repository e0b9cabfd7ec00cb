#pragma once
// A net and images that train in milliseconds.
#include <cstdint>
#include <memory>

#include "kernels/philox.h"
#include "nets/data/image_set.h"
#include "nets/graph/network.h"

namespace offramp::test {

inline nets::NetOptions tiny_options(int num_exits = 3) {
  nets::NetOptions o;
  o.name = "small-cnn";
  o.classes = 3;
  o.channels = 1;
  o.side = 8;
  o.num_exits = num_exits;
  o.width_divisor = 4;
  return o;
}

// One thread: steps this small are all waiting for the others on a busy machine.
inline Device one_thread() {
  static const Device device = Device::make_cpu({.threads = 1});
  return device;
}

inline std::unique_ptr<nets::Network> tiny_net(std::uint64_t seed, int num_exits = 3) {
  auto net = std::make_unique<nets::Network>(tiny_options(num_exits), one_thread());
  nets::initialize(*net, seed);
  return net;
}

// Noise with a bright bar whose place is the class: classes can be learnt, some images are harder than
// others.
inline data::ImageSet bars(int n, std::uint64_t seed) {
  data::ImageSet set;
  set.n = n;
  set.h = set.w = 8;
  set.c = 1;
  set.class_names = {"top", "middle", "bottom"};
  set.family = "bars";
  const PhiloxKey draw{seed, 99};
  std::uint64_t at = 0;
  for (int i = 0; i < n; ++i) {
    const auto label = static_cast<std::int32_t>(draw.word(at++) % 3);
    const auto bar = draw.word(at++) % 160;  // faint to bright
    set.labels.push_back(label);
    for (int y = 0; y < 8; ++y)
      for (int x = 0; x < 8; ++x) {
        const bool inside = y / 3 == label || (label == 2 && y > 6);
        set.pixels.push_back(static_cast<std::uint8_t>(draw.word(at++) % 96 + (inside ? bar : 0)));
      }
  }
  return set;
}

}  // namespace offramp::test
