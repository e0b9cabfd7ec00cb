// ResNet-(6n+2) for small images, projection shortcuts (specs: networks 2.2; n = 9 is ResNet-56).
#include "nets/families/backbone.h"

namespace offramp::nets {

Backbone resnet(const NetOptions& o, int blocks_per_stage) {
  const auto conv = [](std::string name, int in, int out, int kernel, int stride) {
    return Conv2d{
        .name = std::move(name), .in = in, .out = out, .kernel = kernel, .stride = stride, .pad = kernel / 2};
  };
  const auto norm = [](std::string name, int channels, bool relu) {
    return BatchNorm{.name = std::move(name), .channels = channels, .relu = relu};
  };
  Backbone net;
  Architecture& arch = net.plain;
  arch.inputs = {{o.channels, o.side, o.side}};
  int width = parts::scaled(o, 16);
  arch.stem = {conv("init_conv.0", o.channels, width, 3, o.side >= 64 ? 2 : 1),
               norm("init_conv.1", width, true)};
  Extent extent = effect_of(arch.stem, arch.inputs[0]).out;
  for (int b = 0; b < 3 * blocks_per_stage; ++b) {
    const int stage = b / blocks_per_stage;
    const int stride = stage > 0 && b % blocks_per_stage == 0 ? 2 : 1;
    const int out = parts::scaled(o, 16 << stage);
    const std::string name = parts::block(b) + ".layers.";
    std::vector<Layer> layers{conv(name + "0.0", width, out, 3, stride),
                              norm(name + "0.1", out, true),
                              conv(name + "0.3", out, out, 3, 1),
                              norm(name + "0.4", out, false)};
    std::vector<Layer> shortcut;
    if (stride != 1 || width != out) {
      shortcut = {conv(name + "1.0", width, out, 1, stride), norm(name + "1.1", out, false)};
    }
    extent = effect_of(layers, extent).out;
    // The sum and its ReLU are part of the second batch norm.
    arch.blocks.push_back(residual(std::move(layers), std::move(shortcut), Join::kAddRelu));
    width = out;
  }
  arch.end.layers = {AvgPool{.k = extent.h}, Flatten{}};
  const int hidden = o.form == ExitForm::kTwoLayer ? parts::scaled(o, 512) : 0;
  parts::append_classifier(
      arch.end.layers, "end_layers.2", "end_layers.4", {width}, hidden, o.classes, Init::kSmallNormal);
  if (blocks_per_stage == 9) {
    net.sdn_positions = {3, 7, 11, 15, 19, 23};
    net.ccs_positions = {3, 7, 11, 15, 20};
  }
  return net;
}

}  // namespace offramp::nets
