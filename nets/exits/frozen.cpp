#include "nets/exits/frozen.h"

#include <optional>
#include <utility>

#include "base/errors.h"
#include "engine/ops.h"
#include "engine/recording.h"
#include "kernels/linear.h"
#include "nets/graph/overloaded.h"

namespace offramp::nets {
class FrozenNet::Builder {
 public:
  Builder(const Network& net, FrozenFor use)
      : device_(net.device()), mixed_(net.options().precision == Precision::kMixed), use_(use) {}

  // The steps of a list of layers on samples of `extent`. `sum`: the last convolution, which ends the list (alone
  // or with its batch norm), also adds the residual.
  std::vector<Step> steps(const std::vector<Layer>& layers, Extent extent, Join sum = Join::kFirst) const {
    std::vector<Step> out;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const Extent in = extent;
      extent = effect_of(layers[i], extent).out;
      if (std::holds_alternative<Dropout>(layers[i])) continue;
      if (const auto* linear = std::get_if<Linear>(&layers[i]); linear && packs(*linear)) {
        out.push_back(packed(*linear));
        continue;
      }
      const auto* conv = std::get_if<Conv2d>(&layers[i]);
      if (!conv) {
        out.push_back(copied(layers[i]));
        continue;
      }
      std::size_t next = i + 1;  // a dropout between is nothing in evaluation
      while (next < layers.size() && std::holds_alternative<Dropout>(layers[next])) ++next;
      const BatchNorm* norm = next < layers.size() ? std::get_if<BatchNorm>(&layers[next]) : nullptr;
      if (norm) i = next;
      const bool sums = sum != Join::kFirst && i + 1 == layers.size();
      out.push_back(packed(*conv, norm, in, sums ? sum == Join::kAddRelu : norm && norm->relu));
    }
    return out;
  }

  FrozenPath path(const Path& p, const std::vector<Extent>& in, Join sum = Join::kFirst) const {
    return {p.from, steps(p.layers, in[static_cast<std::size_t>(p.from)], sum)};
  }

  FrozenMap map(const Map& m, const std::vector<Extent>& in) const {
    FrozenMap frozen{{}, m.join, sums_in_convolution(m)};
    for (const Path& p : m.paths) {
      const bool sums = frozen.sum_in_last && frozen.paths.empty();
      frozen.paths.push_back(path(p, in, sums ? m.join : Join::kFirst));
    }
    return frozen;
  }

  // The first step: pixels in [0,1] to what the stem takes. Copies the normalisation.
  Step normalisation(const Network& net) const {
    const Tensor mean = net.parameters().find("normalize.mean")->value.clone();
    const Tensor inv_std = net.parameters().find("normalize.inv_std")->value.clone();
    const DType type = mixed_ ? DType::kBFloat16 : DType::kFloat32;
    return [mean, inv_std, type](const Tensor& x, const Tensor&) {
      return normalize_pixels(x, mean, inv_std, type);
    };
  }

 private:
  // Whether a packed convolution ends paths[0] of a sum, so that it can add the residual in its own pass.
  static bool sums_in_convolution(const Map& m) {
    if ((m.join != Join::kAdd && m.join != Join::kAddRelu) || m.paths[0].layers.empty()) return false;
    const std::vector<Layer>& layers = m.paths[0].layers;
    const bool folds_norm = norm_with_sum(m) && layers.size() > 1;
    return std::holds_alternative<Conv2d>(layers[layers.size() - (folds_norm ? 2 : 1)]);
  }

  Step packed(const Conv2d& conv, const BatchNorm* norm, const Extent& in, bool relu) const {
    const Conv2dGeom g{.n = 1,
                       .h = in.h,
                       .w = in.w,
                       .c = in.c,
                       .k = conv.out,
                       .r = conv.kernel,
                       .s = conv.kernel,
                       .stride = conv.stride,
                       .pad = conv.pad,
                       .groups = conv.groups};
    const FoldedConv folded = fold(conv, norm);
    return mixed_ ? frozen_conv<bf16>(device_, g, folded, relu, use_)
                  : frozen_conv<float>(device_, g, folded, relu, use_);
  }

  // Whether linear_forward would pack the weights in every call. With gradients wanted, many samples share that.
  bool packs(const Linear& l) const {
    return device_.kind() == DeviceKind::kCpu && use_ == FrozenFor::kAnswers &&
           l.weight.shape().n() > kUnpackedOutputs;
  }

  // A convolution on one pixel.
  Step packed(const Linear& l) const {
    const int in = l.weight.shape().c(), out = l.weight.shape().n();
    const Conv2dGeom g{.n = 1, .h = 1, .w = 1, .c = in, .k = out, .r = 1, .s = 1};
    const FoldedConv weights{l.weight.to_host<float>(), l.bias.to_host<float>()};
    return [=, step = frozen_conv<float>(device_, g, weights, false, use_)](const Tensor& x, const Tensor&) {
      const int n = x.shape().n();
      return step(convert(x, DType::kFloat32).reshaped({n, in, 1, 1}), {}).reshaped({n, out});
    };
  }

  // A layer of its own parameters.
  static Step copied(const Layer& layer) {
    Layer own = layer;
    std::visit(
        Overloaded{
            [](Linear& l) {
              l.weight = l.weight.clone();
              l.bias = l.bias.clone();
            },
            [](BatchNorm& l) {
              for (Tensor* t :
                   {&l.tensors.gamma, &l.tensors.beta, &l.tensors.running_mean, &l.tensors.running_var}) {
                *t = t->clone();
              }
            },
            [](ExitPool& l) { l.alpha = l.alpha.clone(); },
            [](auto&) {}},
        own);
    return [own](const Tensor& x, const Tensor&) { return offramp::nets::run(own, x, PassContext{}); };
  }

  Device device_;
  bool mixed_;
  FrozenFor use_;
};

FrozenNet::FrozenNet(const Network& net, FrozenFor use)
    : classes_(net.classes()), rows_together_(net.rows_together()), use_(use), inputs_(net.inputs()) {
  const NoGrad no_grad;
  const Architecture& arch = net.architecture();
  const Builder builder(net, use);
  std::vector<Extent> extents = stem_effect(arch).out;
  FrozenSegment segment;
  segment.first = builder.steps(arch.stem, arch.inputs[0]);
  if (arch.pixels) segment.first.insert(segment.first.begin(), builder.normalisation(net));
  std::size_t exit = 0;
  for (std::size_t b = 0; b < arch.blocks.size(); ++b) {
    std::vector<FrozenMap>& maps = segment.blocks.emplace_back();
    for (const Map& map : arch.blocks[b].maps) maps.push_back(builder.map(map, extents));
    extents = effect_of(arch.blocks[b], extents).out;
    if (exit < arch.exits.size() && arch.exits[exit].after_block == static_cast<int>(b)) {
      segment.head = builder.path(arch.exits[exit++].path, extents);
      segments_.push_back(std::exchange(segment, {}));
    }
  }
  segment.head = builder.path(arch.end, extents);
  segments_.push_back(std::move(segment));
}

Tensor FrozenNet::run(const FrozenPath& path, const Features& x, const Tensor& residual, Tensor* last_input) {
  Tensor y = x[static_cast<std::size_t>(path.from)];
  for (std::size_t i = 0; i < path.steps.size(); ++i) {
    if (last_input && i + 1 == path.steps.size()) *last_input = y;
    y = path.steps[i](y, i + 1 == path.steps.size() ? residual : Tensor());
  }
  return y;
}

Tensor FrozenNet::run(const FrozenMap& map, const Features& x) {
  if (map.join == Join::kFirst) return run(map.paths[0], x);
  if (map.join == Join::kConcat) {
    std::vector<Tensor> parts;
    for (const FrozenPath& path : map.paths) parts.push_back(run(path, x));
    return concat_channels(parts);
  }
  const Tensor residual = run(map.paths[1], x);
  if (map.sum_in_last) return run(map.paths[0], x, residual);
  const Tensor sum = add(run(map.paths[0], x), residual);
  return map.join == Join::kAddRelu ? relu(sum) : sum;
}

Segment FrozenNet::forward_segment(int segment, const Features& x) const {
  Tensor unused;
  return forward_segment(segment, x, unused);
}

Segment FrozenNet::forward_segment(int segment, const Features& x, Tensor& last_input) const {
  if (segment < 0 || segment >= num_exits()) {
    throw ValueError("frozen net: segments are 0 to " + std::to_string(num_exits() - 1) + ", got " +
                     std::to_string(segment));
  }
  std::optional<NoGrad> no_grad;
  if (use_ == FrozenFor::kAnswers) no_grad.emplace();
  const FrozenSegment& s = segments_[static_cast<std::size_t>(segment)];
  Features y = x;
  for (const Step& step : s.first) y[0] = step(y[0], {});
  for (const std::vector<FrozenMap>& maps : s.blocks) {
    if (maps.size() == 1) {
      y[0] = run(maps[0], y);
      y.resize(1);
      continue;
    }
    Features next;
    for (const FrozenMap& map : maps) next.push_back(run(map, y));
    y = std::move(next);
  }
  Tensor logits = run(s.head, y, {}, &last_input);
  return {segment + 1 < num_exits() ? std::move(y) : Features(), std::move(logits)};
}

std::vector<Tensor> FrozenNet::forward(const Tensor& x) const { return forward(Features{x}); }

std::vector<Tensor> FrozenNet::forward(Features x) const {
  std::vector<Tensor> logits;
  for (int s = 0; s < num_exits(); ++s) {
    Segment segment = forward_segment(s, x);
    x = std::move(segment.features);
    logits.push_back(std::move(segment.logits));
  }
  return logits;
}

}  // namespace offramp::nets
