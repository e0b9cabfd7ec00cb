// A small net of no paper: six convolutions of 16 to 64 channels, for demos and tests on 28x28 and 32x32
// images.
#include <array>

#include "nets/families/backbone.h"

namespace offramp::nets {

Backbone small_cnn(const NetOptions& o) {
  struct Row {
    int out;
    bool pool;
  };
  constexpr std::array<Row, 6> kRows{
      {{16, false}, {16, true}, {32, false}, {32, true}, {64, false}, {64, false}}};
  Backbone net;
  Architecture& arch = net.plain;
  Extent extent = {o.channels, o.side, o.side};
  arch.inputs = {extent};
  for (std::size_t b = 0; b < kRows.size(); ++b) {
    const std::string name = parts::block(static_cast<int>(b)) + ".layers.";
    const int out = parts::scaled(o, kRows[b].out);
    std::vector<Layer> layers;
    layers.emplace_back(Conv2d{.name = name + "0", .in = extent.c, .out = out});
    layers.emplace_back(BatchNorm{.name = name + "1", .channels = out});
    if (kRows[b].pool) layers.emplace_back(MaxPool{.k = 2});
    extent = effect_of(layers, extent).out;
    arch.blocks.push_back(chain(std::move(layers)));
  }
  arch.end.layers = {AvgPool{.k = extent.h}, Flatten{}};
  const int hidden = o.form == ExitForm::kTwoLayer ? parts::scaled(o, 512) : 0;
  parts::append_classifier(
      arch.end.layers, "end_layers.2", "end_layers.4", {extent.c}, hidden, o.classes, Init::kFanIn);
  return net;
}

}  // namespace offramp::nets
