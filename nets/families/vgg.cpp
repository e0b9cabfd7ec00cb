// VGG-16 with batch norm (specs: networks 2.1).
#include <array>

#include "nets/families/backbone.h"

namespace offramp::nets {

Backbone vgg16(const NetOptions& o) {
  struct Row {
    int out;
    bool pool;
  };
  constexpr std::array<Row, 13> kRows{{{64, false},
                                       {64, true},
                                       {128, false},
                                       {128, true},
                                       {256, false},
                                       {256, false},
                                       {256, true},
                                       {512, false},
                                       {512, false},
                                       {512, true},
                                       {512, false},
                                       {512, false},
                                       {512, true}}};
  Backbone net;
  Architecture& arch = net.plain;
  Extent extent = {o.channels, o.side, o.side};
  arch.inputs = {extent};
  for (std::size_t b = 0; b < kRows.size(); ++b) {
    const std::string name = parts::block(static_cast<int>(b)) + ".layers.";
    const int out = parts::scaled(o, kRows[b].out);
    std::vector<Layer> layers;
    layers.emplace_back(Conv2d{.name = name + "0", .in = extent.c, .out = out, .has_bias = true});
    layers.emplace_back(BatchNorm{.name = name + "1", .channels = out});
    if (kRows[b].pool) layers.emplace_back(MaxPool{.k = 2});
    extent = effect_of(layers, extent).out;
    arch.blocks.push_back(chain(std::move(layers)));
  }
  // Fully connected block: as wide as its input; 512 features for 32x32 images, 2048 for 64x64.
  const int features = static_cast<int>(extent.size());
  arch.blocks.push_back(chain({Flatten{},
                               Linear{.name = parts::block(13) + ".layers.1",
                                      .in = features,
                                      .out = features,
                                      .flatten_h = extent.h,
                                      .flatten_w = extent.w,
                                      .init = Init::kSmallNormal},
                               Relu{},
                               Dropout{.p = 0.5f}}));
  // 512 -> 512 -> C for 32x32 images, 2048 -> 1024 -> C for 64x64; no ReLU between (oracle-notes S17).
  const int hidden = extent.h > 1 ? features / 2 : features;
  parts::append_classifier(
      arch.end.layers, "end_layers.0", "end_layers.2", {features}, hidden, o.classes, Init::kSmallNormal);
  net.sdn_positions = {1, 3, 5, 6, 8, 9};
  net.ccs_positions = {1, 3, 5, 7, 10};
  net.exit_init = Init::kSmallNormal;
  net.exit_hidden = o.classes >= 200 ? 1024 : 512;
  return net;
}

}  // namespace offramp::nets
