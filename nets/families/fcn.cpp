// FCN-18 for rows of features (specs: networks 2.6).
#include "nets/families/backbone.h"

namespace offramp::nets {

Backbone fcn18(const NetOptions& o, int full_width) {
  const auto linear = [](std::string name, int in, int out) {
    return Linear{.name = std::move(name), .in = in, .out = out, .init = Init::kSmallNormal};
  };
  Backbone net;
  Architecture& arch = net.plain;
  arch.inputs = {{o.features}};
  arch.pixels = false;
  const int width = parts::scaled(o, full_width), hidden = parts::scaled(o, 512);
  for (int b = 0; b < 5; ++b) {
    const std::string name = parts::block(b) + ".layers.";
    arch.blocks.push_back(chain({linear(name + "0", b == 0 ? o.features : width, width),
                                 BatchNorm{.name = name + "1", .channels = width, .is_1d = true}}));
  }
  // No nonlinearity in the end part (oracle-notes S17).
  arch.end.layers = {linear("end_layers.0", width, width),
                     Dropout{.p = 0.5f},
                     linear("end_layers.2", width, hidden),
                     Dropout{.p = 0.5f},
                     linear("end_layers.4", hidden, o.classes)};
  net.ccs_positions = {0, 1, 2, 3, 4};
  net.exit_init = Init::kSmallNormal;
  return net;
}

}  // namespace offramp::nets
