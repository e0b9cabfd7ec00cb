// A small checkpoint and a picture for what leaves the laboratory: embed and export.
#pragma once

#include <vector>

#include "nets/graph/state_dict.h"
#include "tests/support/program.h"

namespace offramp::test {

inline nets::NetOptions deployed_options() {
  nets::NetOptions o;
  o.name = "small-cnn";
  o.width_divisor = 8;
  o.classes = 2;
  o.channels = 3;
  o.side = 16;
  o.mean = {0.4f, 0.5f, 0.6f};
  o.std = {0.2f, 0.25f, 0.5f};
  return o;
}

// Drawn with `seed`; every sample leaves at exit 1 with threshold 0, and none before the end with 1.5.
inline void write_checkpoint(const std::filesystem::path& path, std::uint64_t seed, double threshold) {
  nets::Network net(deployed_options(), Device::make_cpu({.threads = 1}));
  nets::initialize(net, seed);
  nets::save_checkpoint(path,
                        net,
                        nets::ExitPolicy::uniform(net.num_exits(), threshold),
                        {{"data.classes", "left\nright"}, {"data.side", "16"}});
}

inline void write_picture(const std::filesystem::path& path) {
  std::string ppm = "P6\n16 16\n255\n";
  for (int i = 0; i < 16 * 16 * 3; ++i) ppm += static_cast<char>(i * 37 % 251);
  write_text(path, ppm);
}

}  // namespace offramp::test
