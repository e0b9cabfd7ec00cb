// MobileNetV2 for small images (specs: networks 2.5, the common CIFAR variant): ReLU, not ReLU6, and stride 1 in the
// first two stages. Layers are named as in that variant's module, so that its state dicts load.
#include <array>

#include "nets/families/backbone.h"

namespace offramp::nets {

Backbone mobilenet_v2(const NetOptions& o) {
  struct Stage {
    int expansion, out, blocks, stride;
  };
  constexpr std::array<Stage, 7> kStages{{{1, 16, 1, 1},
                                          {6, 24, 2, 1},
                                          {6, 32, 3, 2},
                                          {6, 64, 4, 2},
                                          {6, 96, 3, 1},
                                          {6, 160, 3, 2},
                                          {6, 320, 1, 1}}};
  const auto conv = [](std::string name, int in, int out) {
    return Conv2d{.name = std::move(name), .in = in, .out = out, .kernel = 1, .pad = 0, .init = Init::kFanIn};
  };
  const auto norm = [](std::string name, int channels, bool relu) {
    return BatchNorm{.name = std::move(name), .channels = channels, .relu = relu};
  };
  Backbone net;
  Architecture& arch = net.plain;
  Extent extent = {o.channels, o.side, o.side};
  arch.inputs = {extent};
  int width = parts::scaled(o, 32), index = 0;
  arch.stem = {Conv2d{.name = "conv1", .in = o.channels, .out = width, .init = Init::kFanIn},
               norm("bn1", width, true)};
  extent = effect_of(arch.stem, extent).out;
  for (const Stage& stage : kStages) {
    for (int b = 0; b < stage.blocks; ++b) {
      const std::string name = parts::block(index++) + ".";
      const int out = parts::scaled(o, stage.out), wide = stage.expansion * width;
      const int stride = b == 0 ? stage.stride : 1;
      // Expand, depthwise, project; no ReLU behind the projection.
      std::vector<Layer> layers{conv(name + "conv1", width, wide),
                                norm(name + "bn1", wide, true),
                                Conv2d{.name = name + "conv2",
                                       .in = wide,
                                       .out = wide,
                                       .stride = stride,
                                       .groups = wide,
                                       .init = Init::kFanIn},
                                norm(name + "bn2", wide, true),
                                conv(name + "conv3", wide, out),
                                norm(name + "bn3", out, false)};
      extent = effect_of(layers, extent).out;
      std::vector<Layer> shortcut;
      if (width != out)
        shortcut = {conv(name + "shortcut.0", width, out), norm(name + "shortcut.1", out, false)};
      arch.blocks.push_back(stride == 1 ? residual(std::move(layers), std::move(shortcut), Join::kAdd)
                                        : chain(std::move(layers)));
      width = out;
    }
  }
  const int last = parts::scaled(o, 1280);
  arch.end.layers = {conv("conv2", width, last), norm("bn2", last, true), AvgPool{.k = extent.h}, Flatten{}};
  const int hidden = o.form == ExitForm::kTwoLayer ? parts::scaled(o, 1024) : 0;
  parts::append_classifier(arch.end.layers,
                           hidden > 0 ? "linear.0" : "linear",
                           "linear.2",
                           {last},
                           hidden,
                           o.classes,
                           Init::kFanIn);
  // No paper lists positions: the blocks nearest to 15, 30, 45, 60, 75 and 90 % of the cost (specs: networks 3.1).
  net.sdn_positions = {2, 5, 9, 11, 13, 16};
  net.exit_hidden = 1024;
  return net;
}

}  // namespace offramp::nets
