// MSDNet for small images (specs: networks 2.7): three scales side by side, each layer's new channels concatenated to
// its own scale, finer scales dropped as the net deepens, an exit on the coarsest scale behind each group of layers.
// The widths of the published CIFAR nets: 16 channels at first, 6 more a layer, scales 1, 2 and 4 times as wide.
#include <algorithm>
#include <array>

#include "nets/families/backbone.h"

namespace offramp::nets {
namespace {

constexpr int kScales = 3;
constexpr std::array<int, kScales> kWidth{1, 2, 4}, kBottleneck{1, 2, 4};

struct ConvNorm {
  int in, out, kernel, stride;
};
void append(std::vector<Layer>& layers, const std::string& name, const ConvNorm& c) {
  layers.emplace_back(Conv2d{.name = name + ".0",
                             .in = c.in,
                             .out = c.out,
                             .kernel = c.kernel,
                             .stride = c.stride,
                             .pad = c.kernel / 2,
                             .init = Init::kFanIn});
  layers.emplace_back(BatchNorm{.name = name + ".1", .channels = c.out});
}

// 1x1 down to at most bottleneck * out channels, then 3x3.
std::vector<Layer> bottlenecked(const std::string& name, int in, int out, int stride, int bottleneck) {
  const int inner = std::min(in, bottleneck * out);
  std::vector<Layer> layers;
  append(layers, name + ".bottleneck", {in, inner, 1, 1});
  append(layers, name + ".conv", {inner, out, 3, stride});
  return layers;
}

class Builder {
 public:
  Builder(const NetOptions& options, const std::vector<int>& layers_of_exits)
      : options_(options), width_(parts::scaled(options, 16)), growth_(parts::scaled(options, 6)) {
    for (const int layers : layers_of_exits) total_ += layers;
    first_layer();
    int layer = 0;
    for (std::size_t e = 0; e < layers_of_exits.size(); ++e) {
      for (int i = 0; i < layers_of_exits[e]; ++i) add_layer(++layer);
      const std::string name = e + 1 < layers_of_exits.size() ? block_name() + ".output" : "end_layers";
      Path path = classifier(name);
      if (e + 1 < layers_of_exits.size()) {
        net_.own_exits.push_back({static_cast<int>(arch().blocks.size()) - 1, std::move(path)});
      } else {
        arch().end = std::move(path);
      }
    }
  }
  Backbone take() { return std::move(net_); }

 private:
  Architecture& arch() { return net_.plain; }
  std::string block_name() { return parts::block(static_cast<int>(arch().blocks.size()) - 1); }
  std::string next_name() { return parts::block(static_cast<int>(arch().blocks.size())); }
  static int scale_width(int n, int scale) { return n * kWidth[static_cast<std::size_t>(scale)]; }
  // Scales that layer `layer` (from 1) leaves; of layer 0 all.
  int scales_after(int layer) const {
    const int interval = (total_ + kScales - 1) / kScales;
    return kScales - std::max(0, layer - 1) / interval;
  }

  // The finest scale is the stem; each coarser one comes from the one before it by a stride of 2.
  void first_layer() {
    arch().inputs = {{options_.channels, options_.side, options_.side}};
    append(arch().stem, "init_conv", {options_.channels, width_, 3, 1});
    for (int scale = 1; scale < kScales; ++scale) {
      Block block;
      for (int kept = 0; kept < scale; ++kept) block.maps.push_back({.paths = {{.from = kept}}});
      Path down{.from = scale - 1};
      append(down.layers,
             next_name() + ".down",
             {scale_width(width_, scale - 1), scale_width(width_, scale), 3, 2});
      block.maps.push_back({.paths = {std::move(down)}});
      arch().blocks.push_back(std::move(block));
    }
  }

  void add_layer(int layer) {
    const int in = scales_after(layer - 1), out = scales_after(layer);
    const int finest_in = kScales - in, finest = kScales - out;
    const std::string name = next_name();
    Block block;
    for (int scale = finest; scale < kScales; ++scale) {
      const std::string at = name + ".scale_" + std::to_string(scale + 1);
      const int wide = scale_width(width_, scale), own = scale - finest_in;
      const int bottleneck = kBottleneck[static_cast<std::size_t>(scale)];
      Map map{.paths = {{.from = own}}, .join = Join::kConcat};
      if (scale == finest && in == out) {
        map.paths.push_back(
            {own, bottlenecked(at + ".normal", wide, scale_width(growth_, scale), 1, bottleneck)});
      } else {
        const int half = std::max(1, scale_width(growth_, scale) / 2);
        const int finer = scale_width(width_, scale - 1);
        map.paths.push_back(
            {own - 1,
             bottlenecked(at + ".down", finer, half, 2, kBottleneck[static_cast<std::size_t>(scale - 1)])});
        map.paths.push_back({own, bottlenecked(at + ".normal", wide, half, 1, bottleneck)});
      }
      block.maps.push_back(std::move(map));
    }
    arch().blocks.push_back(std::move(block));
    width_ += growth_;
    if (in > out) transition(finest);
  }

  // Behind a dropped scale every other one is halved.
  void transition(int finest) {
    const std::string name = next_name();
    Block block;
    const int half = width_ / 2;
    for (int scale = finest; scale < kScales; ++scale) {
      Path path{.from = scale - finest};
      append(path.layers,
             name + ".scale_" + std::to_string(scale + 1),
             {scale_width(width_, scale), scale_width(half, scale), 1, 1});
      block.maps.push_back({.paths = {std::move(path)}});
    }
    arch().blocks.push_back(std::move(block));
    width_ = half;
  }

  Path classifier(const std::string& name) {
    const int hidden = parts::scaled(options_, 128),
              coarsest = static_cast<int>(arch().blocks.back().maps.size()) - 1;
    Path path{.from = coarsest};
    append(path.layers, name + ".0", {scale_width(width_, kScales - 1), hidden, 3, 2});
    append(path.layers, name + ".1", {hidden, hidden, 3, 2});
    int side = options_.side;
    for (int halvings = 0; halvings < kScales - 1 + 2; ++halvings) side = (side + 1) / 2;
    if (side >= 2) {
      path.layers.emplace_back(AvgPool{.k = 2});
      side /= 2;
    }
    path.layers.emplace_back(Flatten{});
    path.layers.emplace_back(Linear{.name = name + ".linear",
                                    .in = hidden * side * side,
                                    .out = options_.classes,
                                    .flatten_h = side,
                                    .flatten_w = side});
    return path;
  }

  const NetOptions& options_;
  Backbone net_;
  int width_, growth_, total_ = 0;
};

}  // namespace

// Four layers up to the first exit, two between exits (any-time recipe).
Backbone msdnet(const NetOptions& options, int num_exits) {
  std::vector<int> layers(static_cast<std::size_t>(num_exits), 2);
  layers.front() = 4;
  return Builder(options, layers).take();
}

// One layer up to the first exit, one more each time (recipe of the batch budget).
Backbone msdnet_growing(const NetOptions& options, int num_exits) {
  std::vector<int> layers;
  for (int e = 1; e <= num_exits; ++e) layers.push_back(e);
  return Builder(options, layers).take();
}

}  // namespace offramp::nets
