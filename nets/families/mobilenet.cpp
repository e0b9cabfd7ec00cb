// MobileNet (v1) for small images (specs: networks 2.3).
#include <array>

#include "nets/families/backbone.h"

namespace offramp::nets {

Backbone mobilenet(const NetOptions& o) {
  struct Row {
    int out, stride;
  };
  constexpr std::array<Row, 13> kRows{{{64, 1},
                                       {128, 2},
                                       {128, 1},
                                       {256, 2},
                                       {256, 1},
                                       {512, 2},
                                       {512, 1},
                                       {512, 1},
                                       {512, 1},
                                       {512, 1},
                                       {512, 1},
                                       {1024, 2},
                                       {1024, 1}}};
  const auto norm = [](std::string name, int channels) {
    return BatchNorm{.name = std::move(name), .channels = channels};
  };
  Backbone net;
  Architecture& arch = net.plain;
  arch.inputs = {{o.channels, o.side, o.side}};
  int width = parts::scaled(o, 32);
  arch.stem = {Conv2d{.name = "init_conv.0", .in = o.channels, .out = width, .init = Init::kFanIn},
               norm("init_conv.1", width)};
  Extent extent = effect_of(arch.stem, arch.inputs[0]).out;
  for (std::size_t b = 0; b < kRows.size(); ++b) {
    const std::string name = parts::block(static_cast<int>(b)) + ".layers.";
    const int out = parts::scaled(o, kRows[b].out);
    std::vector<Layer> layers{
        Conv2d{.name = name + "0",
               .in = width,
               .out = width,
               .stride = kRows[b].stride,
               .groups = width,
               .init = Init::kFanIn},
        norm(name + "1", width),
        Conv2d{.name = name + "3", .in = width, .out = out, .kernel = 1, .pad = 0, .init = Init::kFanIn},
        norm(name + "4", out)};
    extent = effect_of(layers, extent).out;
    arch.blocks.push_back(chain(std::move(layers)));
    width = out;
  }
  arch.end.layers = {AvgPool{.k = extent.h}, Flatten{}};
  const int hidden = o.form == ExitForm::kTwoLayer ? parts::scaled(o, 1024) : 0;
  parts::append_classifier(
      arch.end.layers, "end_layers.2", "end_layers.4", {width}, hidden, o.classes, Init::kFanIn);
  net.sdn_positions = {2, 4, 6, 8, 11};
  net.ccs_positions = {1, 3, 5, 7, 10};
  net.exit_hidden = 1024;
  return net;
}

}  // namespace offramp::nets
