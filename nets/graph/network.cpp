#include "nets/graph/network.h"

#include <vector>

#include "base/errors.h"
#include "kernels/range.h"
#include "nets/families/build.h"

namespace offramp::nets {

// Settings of one pass: trunk and exits may run in different modes.
struct Network::Walk {
  PassContext trunk, exits;
  const Observer* observer = nullptr;
  void see(std::string_view name, const Tensor& output) const {
    if (observer && *observer) (*observer)(name, output);
  }
};

Network::Network(const NetOptions& options, const Device& device)
    : options_(options), arch_(build(options)), costs_(costs_of(arch_)), device_(device) {
  if (arch_.pixels) {
    mean_ = parameters_.buffer({"normalize.mean"}, {arch_.input.c});
    inv_std_ = parameters_.buffer({"normalize.inv_std"}, {arch_.input.c});
  }
  for_each_layer(arch_, [&](Layer& layer, int exit) { declare(layer, exit, parameters_); });
  parameters_.allocate(device_);
  const auto fill = [&](Tensor& t, const std::vector<float>& values) {
    device_.upload(t.raw(), values.data(), t.bytes());
  };
  if (arch_.pixels) {
    const auto channels = static_cast<std::size_t>(arch_.input.c);
    std::vector<float> mean(channels, 0.f), inv_std(channels, 1.f);
    for (std::size_t c = 0; c < options_.mean.size(); ++c) mean[c] = options_.mean[c];
    for (std::size_t c = 0; c < options_.std.size(); ++c) inv_std[c] = 1.f / options_.std[c];
    fill(mean_, mean);
    fill(inv_std_, inv_std);
  }
  for_each_layer(arch_, [&](Layer& layer, int) {
    if (auto* norm = std::get_if<BatchNorm>(&layer)) {
      fill(norm->tensors.running_var, std::vector<float>(static_cast<std::size_t>(norm->channels), 1.f));
    }
  });
}

Tensor Network::first_layer(const Tensor& x, const Walk& walk) const {
  const Extent& in = arch_.input;
  const bool fits = x && (arch_.pixels ? x.shape().rank() == 4 && x.shape().c() == in.c &&
                                             x.shape().h() == in.h && x.shape().w() == in.w
                                       : x.shape().rank() == 2 && x.shape().c() == in.c);
  if (!fits) {
    const std::string wanted = arch_.pixels ? "pixels [n," + std::to_string(in.c) + "," +
                                                  std::to_string(in.h) + "," + std::to_string(in.w) + "]"
                                            : "features [n," + std::to_string(in.c) + "]";
    throw ShapeError("net " + options_.name + ": expected " + wanted + ", got " +
                     (x ? x.shape().to_string() : "no tensor"));
  }
  if (!arch_.pixels) return x;
  const DType type = options_.precision == Precision::kMixed ? DType::kBFloat16 : DType::kFloat32;
  Tensor y = normalize_pixels(x, mean_, inv_std_, type);
  walk.see("normalize", y);
  return y;
}

Tensor Network::run_layers(std::span<const Layer> layers,
                           Tensor x,
                           const PassContext& pass,
                           const Walk& walk) const {
  for (const Layer& layer : layers) {
    const Range range(name_of(layer));
    x = run(layer, x, pass);
    walk.see(name_of(layer), x);
  }
  return x;
}

Tensor Network::run_block(const Block& block, int index, const Tensor& x, const Walk& walk) const {
  const std::span<const Layer> layers(block.layers);
  if (block.join == Join::kNone) return run_layers(layers, x, walk.trunk, walk);
  const Tensor shortcut = run_layers(block.shortcut, x, walk.trunk, walk);
  Tensor y;
  if (block.join == Join::kAddRelu) {
    const Tensor inner = run_layers(layers.first(layers.size() - 1), x, walk.trunk, walk);
    y = run_residual(std::get<BatchNorm>(layers.back()), inner, shortcut, walk.trunk);
  } else {
    y = add(run_layers(layers, x, walk.trunk, walk), shortcut);
  }
  walk.see("layers." + std::to_string(index), y);
  return y;
}

std::pair<int, int> Network::blocks_of(int segment) const {
  const auto s = static_cast<std::size_t>(segment);
  const int first = segment == 0 ? 0 : arch_.exits[s - 1].after_block + 1;
  const int last =
      s < arch_.exits.size() ? arch_.exits[s].after_block + 1 : static_cast<int>(arch_.blocks.size());
  return {first, last};
}

Segment Network::run_segment(int segment, const Tensor& x, const Walk& walk) const {
  if (segment < 0 || segment >= num_exits()) {
    throw ValueError("net " + options_.name + ": segments are 0 to " + std::to_string(num_exits() - 1) +
                     ", got " + std::to_string(segment));
  }
  const Range range("exit " + std::to_string(segment + 1));
  Tensor y = segment == 0 ? run_layers(arch_.stem, first_layer(x, walk), walk.trunk, walk) : x;
  const auto [first, last] = blocks_of(segment);
  for (int b = first; b < last; ++b) y = run_block(arch_.blocks[static_cast<std::size_t>(b)], b, y, walk);
  if (segment == num_exits() - 1) return {Tensor(), run_layers(arch_.end, y, walk.trunk, walk)};
  const Exit& exit = arch_.exits[static_cast<std::size_t>(segment)];
  return {y, run_layers(exit.layers, y, walk.exits, walk)};
}

std::vector<Tensor> Network::run_all(const Tensor& x, const Walk& walk) const {
  std::vector<Tensor> logits;
  Tensor features = x;
  for (int s = 0; s < num_exits(); ++s) {
    Segment segment = run_segment(s, features, walk);
    features = std::move(segment.features);
    logits.push_back(std::move(segment.logits));
  }
  return logits;
}

std::vector<Tensor> Network::forward(const Tensor& x) const { return run_all(x, Walk{}); }

std::vector<Tensor> Network::forward(const Tensor& x, const Observer& observer) const {
  return run_all(x, Walk{{}, {}, &observer});
}

std::vector<Tensor> Network::forward(const Tensor& x, const TrainPass& pass) {
  return forward(x, pass, Observer());
}

std::vector<Tensor> Network::forward(const Tensor& x, const TrainPass& pass, const Observer& observer) {
  const DropoutState dropout{pass.seed, pass.state};
  const PassContext train{true, &dropout};
  return run_all(x, Walk{pass.trunk_in_eval_mode ? PassContext{} : train, train, &observer});
}

Segment Network::forward_segment(int segment, const Tensor& x) const {
  return run_segment(segment, x, Walk{});
}

Segment Network::forward_segment(int segment, const Tensor& x, const Observer& observer) const {
  return run_segment(segment, x, Walk{{}, {}, &observer});
}

}  // namespace offramp::nets
