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
  bool observed() const { return observer && *observer; }
  void see(std::string_view name, const Tensor& output) const {
    if (observed()) (*observer)(name, output);
  }
};

namespace {

// What is known of a net of no family.
NetOptions options_of(const Architecture& architecture, Precision precision) {
  NetOptions o;
  o.name = architecture.name;
  o.classes = architecture.classes;
  o.precision = precision;
  return o;
}

}  // namespace

Network::Network(const NetOptions& options, const Device& device)
    : Network(options, build(options), device) {}

Network::Network(const Architecture& architecture, const Device& device, Precision precision)
    : Network(options_of(architecture, precision), architecture, device) {}

Network::Network(const NetOptions& options, Architecture architecture, const Device& device)
    : options_(options), arch_(std::move(architecture)), costs_(costs_of(arch_)), device_(device) {
  std::uint32_t dropouts = 0;
  for_each_layer(arch_, [&](Layer& layer, int) {
    if (auto* dropout = std::get_if<Dropout>(&layer)) dropout->op = dropouts++;
  });
  const int channels = arch_.inputs[0].c;
  if (arch_.pixels) {
    mean_ = parameters_.buffer({"normalize.mean"}, {channels});
    inv_std_ = parameters_.buffer({"normalize.inv_std"}, {channels});
  }
  for_each_layer(arch_, [&](Layer& layer, int exit) { declare(layer, exit, parameters_); });
  parameters_.allocate(device_);
  const auto fill = [&](Tensor& t, const std::vector<float>& values) {
    device_.upload(t.raw(), values.data(), t.bytes());
  };
  if (arch_.pixels) {
    const auto count = static_cast<std::size_t>(channels);
    std::vector<float> mean(count, 0.f), inv_std(count, 1.f);
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

// Input 0 of a net for pixels is a picture even where it is one pixel; other inputs without sides are rows.
void Network::check_inputs(const Features& x) const {
  const auto fail = [&](std::size_t i, const std::string& expected, const std::string& got) {
    throw ShapeError("net " + options_.name +
                     (arch_.inputs.size() > 1 ? ", input " + std::to_string(i + 1) : "") + ": expected " +
                     expected + ", got " + got);
  };
  if (x.size() != arch_.inputs.size()) {
    throw ShapeError("net " + options_.name + ": expected " + std::to_string(arch_.inputs.size()) +
                     " inputs, got " + std::to_string(x.size()));
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Extent& in = arch_.inputs[i];
    const bool pixels = arch_.pixels && i == 0, map = pixels || in.h > 1 || in.w > 1;
    const bool fits = x[i] && x[i].shape().rank() == (map ? 4 : 2) &&
                      Extent{x[i].shape().c(), x[i].shape().h(), x[i].shape().w()} == in;
    if (!fits) {
      std::string wanted = (pixels ? "pixels [n,"
                            : map  ? "a map [n,"
                                   : "features [n,") +
                           std::to_string(in.c);
      if (map) wanted += "," + std::to_string(in.h) + "," + std::to_string(in.w);
      fail(i, wanted + "]", x[i] ? x[i].shape().to_string() : "no tensor");
    }
    if (x[i].shape().n() != x[0].shape().n()) {
      fail(i, std::to_string(x[0].shape().n()) + " samples as in input 1", std::to_string(x[i].shape().n()));
    }
  }
}

// Normalisation and stem.
void Network::run_first(Features& x, const Walk& walk) const {
  check_inputs(x);
  if (arch_.pixels) {
    const DType type = options_.precision == Precision::kMixed ? DType::kBFloat16 : DType::kFloat32;
    x[0] = normalize_pixels(x[0], mean_, inv_std_, type);
    walk.see("normalize", x[0]);
  }
  x[0] = run_layers(arch_.stem, std::move(x[0]), walk.trunk, walk);
}

Tensor Network::run_layers(std::span<const Layer> layers,
                           Tensor x,
                           const PassContext& pass,
                           const Walk& walk) const {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Range range(name_of(layers[i]));
    const auto* norm = i + 1 < layers.size() ? std::get_if<BatchNorm>(&layers[i + 1]) : nullptr;
    if (const Conv2d* conv = norm ? fused(layers[i], x, pass, walk) : nullptr) {
      x = run_normalised(*conv, *norm, x, {}, norm->relu, pass);
      ++i;
      continue;
    }
    x = run(layers[i], x, pass);
    walk.see(name_of(layers[i]), x);
  }
  return x;
}

// The layer as a convolution that is computed with the batch norm behind it: in training on a CUDA device, where
// nobody asks for what is between them. Else null.
const Conv2d* Network::fused(const Layer& layer, const Tensor& x, const PassContext& pass, const Walk& walk) {
  const bool fits = pass.train && !walk.observed() && x.device().kind() == DeviceKind::kCuda;
  return fits ? std::get_if<Conv2d>(&layer) : nullptr;
}

Tensor Network::run_path(const Path& path,
                         const Features& x,
                         const PassContext& pass,
                         const Walk& walk) const {
  return run_layers(path.layers, x[static_cast<std::size_t>(path.from)], pass, walk);
}

Tensor Network::run_map(const Map& map, const Features& x, const Walk& walk) const {
  const Path& first = map.paths[0];
  if (map.join == Join::kFirst) return run_path(first, x, walk.trunk, walk);
  if (map.join == Join::kConcat) {
    std::vector<Tensor> parts;
    for (const Path& path : map.paths) parts.push_back(run_path(path, x, walk.trunk, walk));
    return concat_channels(parts);
  }
  const bool relu_behind = map.join == Join::kAddRelu;
  const Tensor shortcut = run_path(map.paths[1], x, walk.trunk, walk);
  const BatchNorm* norm = norm_with_sum(map);
  if (!norm) {
    const Tensor sum = add(run_path(first, x, walk.trunk, walk), shortcut);
    return relu_behind ? relu(sum) : sum;
  }
  const std::span<const Layer> before = std::span(first.layers).first(first.layers.size() - 1);
  const Tensor& start = x[static_cast<std::size_t>(first.from)];
  if (const Conv2d* conv = before.empty() ? nullptr : fused(before.back(), start, walk.trunk, walk)) {
    const Tensor inner = run_layers(before.first(before.size() - 1), start, walk.trunk, walk);
    const Range range(conv->name);
    return run_normalised(*conv, *norm, inner, shortcut, relu_behind, walk.trunk);
  }
  const Tensor inner = run_layers(before, start, walk.trunk, walk);
  return run_residual(*norm, inner, shortcut, relu_behind, walk.trunk);
}

void Network::run_block(int index, Features& x, const Walk& walk) const {
  const std::vector<Map>& maps = arch_.blocks[static_cast<std::size_t>(index)].maps;
  const auto made = [&](std::size_t m, const Tensor& y) {
    if (maps[m].join == Join::kFirst) return;  // its last layer was seen
    const std::string name = "layers." + std::to_string(index);
    walk.see(maps.size() == 1 ? name : name + ".maps." + std::to_string(m), y);
  };
  if (maps.size() == 1) {
    x[0] = run_map(maps[0], x, walk);
    x.resize(1);
    made(0, x[0]);
    return;
  }
  Features y;
  for (std::size_t m = 0; m < maps.size(); ++m) {
    y.push_back(run_map(maps[m], x, walk));
    made(m, y.back());
  }
  x = std::move(y);
}

std::pair<int, int> Network::blocks_of(int segment) const {
  const auto s = static_cast<std::size_t>(segment);
  const int first = segment == 0 ? 0 : arch_.exits[s - 1].after_block + 1;
  const int last =
      s < arch_.exits.size() ? arch_.exits[s].after_block + 1 : static_cast<int>(arch_.blocks.size());
  return {first, last};
}

Segment Network::run_segment(int segment, const Features& x, const Walk& walk) const {
  if (segment < 0 || segment >= num_exits()) {
    throw ValueError("net " + options_.name + ": segments are 0 to " + std::to_string(num_exits() - 1) +
                     ", got " + std::to_string(segment));
  }
  const Range range("exit " + std::to_string(segment + 1));
  Features y = x;
  if (segment == 0) run_first(y, walk);
  const auto [first, last] = blocks_of(segment);
  for (int b = first; b < last; ++b) run_block(b, y, walk);
  if (segment == num_exits() - 1) return {{}, run_path(arch_.end, y, walk.trunk, walk)};
  Tensor logits = run_path(arch_.exits[static_cast<std::size_t>(segment)].path, y, walk.exits, walk);
  return {std::move(y), std::move(logits)};
}

std::vector<Tensor> Network::run_all(Features x, const Walk& walk) const {
  std::vector<Tensor> logits;
  for (int s = 0; s < num_exits(); ++s) {
    Segment segment = run_segment(s, x, walk);
    x = std::move(segment.features);
    logits.push_back(std::move(segment.logits));
  }
  return logits;
}

std::vector<Tensor> Network::forward(const Tensor& x) const { return run_all({x}, Walk{}); }
std::vector<Tensor> Network::forward(const Features& x) const { return run_all(x, Walk{}); }

std::vector<Tensor> Network::forward(const Tensor& x, const Observer& observer) const {
  return run_all({x}, Walk{{}, {}, &observer});
}

std::vector<Tensor> Network::forward(const Tensor& x, const TrainPass& pass) {
  return forward(x, pass, Observer());
}

std::vector<Tensor> Network::forward(const Features& x, const TrainPass& pass) {
  return run_training(x, pass, Observer());
}

std::vector<Tensor> Network::forward(const Tensor& x, const TrainPass& pass, const Observer& observer) {
  return run_training({x}, pass, observer);
}

std::vector<Tensor> Network::run_training(Features x, const TrainPass& pass, const Observer& observer) {
  if (options_.precision == Precision::kMixed) parameters_.round_weights();
  const DropoutState dropout{pass.seed, pass.state};
  const PassContext train{true, &dropout};
  return run_all(std::move(x), Walk{pass.trunk_in_eval_mode ? PassContext{} : train, train, &observer});
}

// Where the weights stay in the cache, few samples do best: their maps stay there too. Else so many that reading the weights
// again does not matter.
int Network::rows_together() const { return costs_.exits.back().parameters <= 4'000'000 ? 16 : 64; }

Segment Network::forward_segment(int segment, const Features& x) const {
  return run_segment(segment, x, Walk{});
}

Segment Network::forward_segment(int segment, const Features& x, const Observer& observer) const {
  return run_segment(segment, x, Walk{{}, {}, &observer});
}

}  // namespace offramp::nets
