// WideResNet-32-4: pre-activation blocks, stride on the second convolution (specs: networks 2.4, oracle-notes
// S18).
#include "nets/families/backbone.h"

namespace offramp::nets {

Backbone wide_resnet_32_4(const NetOptions& o) {
  constexpr int kBlocksPerStage = 5;
  const auto conv = [](std::string name, int in, int out, int kernel, int stride) {
    return Conv2d{.name = std::move(name),
                  .in = in,
                  .out = out,
                  .kernel = kernel,
                  .stride = stride,
                  .pad = kernel / 2,
                  .has_bias = true,
                  .init = Init::kXavierRelu};
  };
  const auto norm = [](std::string name, int channels, float momentum) {
    return BatchNorm{.name = std::move(name), .channels = channels, .momentum = momentum};
  };
  Backbone net;
  Architecture& arch = net.plain;
  arch.inputs = {{o.channels, o.side, o.side}};
  int width = parts::scaled(o, 16);
  arch.stem = {conv("init_conv", o.channels, width, 3, o.side >= 64 ? 2 : 1)};
  Extent extent = effect_of(arch.stem, arch.inputs[0]).out;
  for (int b = 0; b < 3 * kBlocksPerStage; ++b) {
    const int stage = b / kBlocksPerStage;
    const int stride = stage > 0 && b % kBlocksPerStage == 0 ? 2 : 1;
    const int out = parts::scaled(o, 64 << stage);
    const std::string name = parts::block(b) + ".layers.";
    std::vector<Layer> layers{norm(name + "0.0", width, 0.1f),
                              conv(name + "0.2", width, out, 3, 1),
                              Dropout{.p = 0.3f},
                              norm(name + "0.4", out, 0.1f),
                              conv(name + "0.6", out, out, 3, stride)};
    std::vector<Layer> shortcut;
    if (stride != 1 || width != out) shortcut = {conv(name + "1.0", width, out, 1, stride)};
    extent = effect_of(layers, extent).out;
    arch.blocks.push_back(residual(std::move(layers), std::move(shortcut), Join::kAdd));
    width = out;
  }
  arch.end.layers = {norm("end_layers.0", width, 0.9f), AvgPool{.k = extent.h}, Flatten{}};
  const int hidden = o.form == ExitForm::kTwoLayer ? parts::scaled(o, 512) : 0;
  parts::append_classifier(
      arch.end.layers, "end_layers.4", "end_layers.6", {width}, hidden, o.classes, Init::kSmallNormal);
  net.sdn_positions = {2, 4, 6, 8, 10, 12};
  net.ccs_positions = {2, 4, 6, 8, 11};
  net.exit_init = Init::kFanInZeroBias;
  return net;
}

}  // namespace offramp::nets
