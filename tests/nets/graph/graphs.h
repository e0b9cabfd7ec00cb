#pragma once
// Nets of no family, as graphs: MSDNet for CIFAR (specs: networks 2.7) and a classifier of five inputs in the
// shape of the membership attack's (specs: networks 7).
#include <algorithm>
#include <string>
#include <vector>

#include "nets/graph/architecture.h"

namespace offramp::test {

struct MsdnetSettings {
  std::vector<int> layers;  // of each block; an exit stands behind each
  int channels = 16, growth = 6, classes = 10, side = 32, exit_channels = 128;
};

inline nets::Architecture msdnet(const MsdnetSettings& m) {
  using namespace nets;
  constexpr int kScales = 3, kFactor[] = {1, 2, 4};  // growth factors and bottleneck factors alike
  const auto conv = [](std::string name, int in, int out, int kernel, int stride) {
    return std::vector<Layer>{Conv2d{.name = name + ".0",
                                     .in = in,
                                     .out = out,
                                     .kernel = kernel,
                                     .stride = stride,
                                     .pad = kernel / 2,
                                     .init = Init::kFanIn},
                              BatchNorm{.name = name + ".1", .channels = out}};
  };
  // Bottleneck, then 3x3.
  const auto narrow_conv = [&](std::string name, int in, int out, int bottleneck, int stride) {
    const int middle = std::min(in, bottleneck * out);
    std::vector<Layer> layers = conv(name + ".narrow", in, middle, 1, 1);
    for (Layer& layer : conv(name, middle, out, 3, stride)) layers.push_back(std::move(layer));
    return layers;
  };
  const auto classifier = [&](const std::string& name, int in) {
    std::vector<Layer> layers = conv(name + ".a", in, m.exit_channels, 3, 2);
    for (Layer& layer : conv(name + ".b", m.exit_channels, m.exit_channels, 3, 2))
      layers.push_back(std::move(layer));
    layers.push_back(AvgPool{.k = m.side / 16});
    layers.push_back(Flatten{});
    layers.push_back(Linear{.name = name + ".linear", .in = m.exit_channels, .out = m.classes});
    return layers;
  };
  Architecture arch{.name = "msdnet", .inputs = {{3, m.side, m.side}}, .classes = m.classes};
  arch.stem = conv("first.0", 3, m.channels, 3, 1);
  int n = m.channels;
  for (int s = 1; s < kScales; ++s) {  // scale s from scale s - 1
    Block block;
    for (int kept = 0; kept < s; ++kept) block.maps.push_back({{Path{kept}}});
    block.maps.push_back(
        {{Path{s - 1, conv("first." + std::to_string(s), n * kFactor[s - 1], n * kFactor[s], 3, 2)}}});
    arch.blocks.push_back(std::move(block));
  }
  int total = 0, l = 0;
  for (const int count : m.layers) total += count;
  const int interval = (total + kScales - 1) / kScales;
  for (std::size_t b = 0; b < m.layers.size(); ++b) {
    for (int i = 0; i < m.layers[b]; ++i) {
      ++l;
      const int in = kScales - std::max(0, l - 2) / interval, out = kScales - (l - 1) / interval;
      const std::string name = "layer." + std::to_string(l);
      Block block;
      for (int s = kScales - out; s < kScales; ++s) {
        const int here = s - (kScales - in), width = n * kFactor[s];
        const std::string at = name + "." + std::to_string(s);
        if (here == 0) {
          block.maps.push_back(
              {{Path{here}, Path{here, narrow_conv(at, width, m.growth * kFactor[s], kFactor[s], 1)}},
               Join::kConcat});
        } else {
          const int part = m.growth * kFactor[s] / 2;
          block.maps.push_back(
              {{Path{here},
                Path{here - 1, narrow_conv(at + ".down", n * kFactor[s - 1], part, kFactor[s - 1], 2)},
                Path{here, narrow_conv(at, width, part, kFactor[s], 1)}},
               Join::kConcat});
        }
      }
      arch.blocks.push_back(std::move(block));
      n += m.growth;
      if (in == out) continue;
      Block transition;
      for (int s = kScales - out; s < kScales; ++s) {
        const std::string at = name + ".transition." + std::to_string(s);
        transition.maps.push_back(
            {{Path{s - (kScales - out), conv(at, n * kFactor[s], n / 2 * kFactor[s], 1, 1)}}});
      }
      arch.blocks.push_back(std::move(transition));
      n /= 2;
    }
    const int coarsest = static_cast<int>(arch.blocks.back().maps.size()) - 1;
    Path head{coarsest, classifier("classifier." + std::to_string(b), n * kFactor[kScales - 1])};
    if (b + 1 < m.layers.size()) {
      arch.exits.push_back({static_cast<int>(arch.blocks.size()) - 1, std::move(head)});
    } else {
      arch.end = std::move(head);
    }
  }
  return arch;
}

// Three exits; scales are dropped twice.
inline nets::Architecture small_msdnet() {
  return msdnet(
      {.layers = {2, 2, 2}, .channels = 4, .growth = 4, .classes = 5, .side = 16, .exit_channels = 8});
}

// Scores, loss, label, feature of the last layer but one, and the gradient of the last layer as a picture.
inline nets::Architecture five_inputs() {
  using namespace nets;
  const auto linear = [](std::string name, int in, int out) {
    return Linear{.name = std::move(name), .in = in, .out = out};
  };
  const auto branch = [&](int input, const std::string& name, int in) {
    return Path{input, {linear(name + ".0", in, 12), Relu{}, linear(name + ".3", 12, 6)}};
  };
  Architecture arch{.name = "membership-gradient",
                    .inputs = {{7}, {1}, {2}, {9}, {1, 6, 8}},
                    .pixels = false,
                    .classes = 2};
  const Path picture{
      4,
      {Conv2d{.name = "gradient.0", .in = 1, .out = 5, .pad = 0, .has_bias = true, .init = Init::kFanIn},
       AvgPool{.k = 2},
       Flatten{},
       Linear{.name = "gradient.4", .in = 30, .out = 12, .flatten_h = 2, .flatten_w = 3},
       Relu{},
       linear("gradient.7", 12, 6)}};
  arch.blocks = {{{Map{{branch(0, "score", 7),
                        branch(1, "loss", 1),
                        branch(2, "label", 2),
                        branch(3, "feature", 9),
                        picture},
                       Join::kConcat}}},
                 chain({linear("encoder.1", 30, 16), Relu{}})};
  arch.end.layers = {linear("encoder.4", 16, 8), Relu{}, linear("encoder.7", 8, 2)};
  return arch;
}

}  // namespace offramp::test
