#include "nets/graph/layers.h"

#include "base/errors.h"
#include "nets/graph/overloaded.h"

namespace offramp::nets {
namespace {

[[noreturn]] void does_not_fit(const std::string& layer, const std::string& expected, const Extent& in) {
  throw ShapeError(layer + ": expected " + expected + ", got " + to_string(in));
}

LayerEffect effect(const Conv2d& l, const Extent& in) {
  if (in.c != l.in) does_not_fit(l.name, std::to_string(l.in) + " channels", in);
  const Conv2dGeom g{.n = 1,
                     .h = in.h,
                     .w = in.w,
                     .c = in.c,
                     .k = l.out,
                     .r = l.kernel,
                     .s = l.kernel,
                     .stride = l.stride,
                     .pad = l.pad,
                     .groups = l.groups};
  const Extent out{l.out, g.out_h(), g.out_w()};
  if (out.h < 1 || out.w < 1) {
    does_not_fit(l.name, "an image of at least " + std::to_string(l.kernel) + " pixels a side", in);
  }
  // The profiler multiplies by groups although the output count already covers all channels (oracle-notes
  // S1).
  const std::int64_t per_output =
      2 * std::int64_t{l.kernel} * l.kernel * (l.in / l.groups) - 1 + (l.has_bias ? 1 : 0);
  return {out, {g.w_size() + (l.has_bias ? l.out : 0), g.macs(), out.size() * per_output * l.groups}};
}

LayerEffect effect(const Linear& l, const Extent& in) {
  if (in.c != l.in || in.h != 1 || in.w != 1) does_not_fit(l.name, std::to_string(l.in) + " features", in);
  const std::int64_t weights = std::int64_t{l.in} * l.out;
  return {{l.out}, {weights + l.out, weights, (2 * std::int64_t{l.in} - 1) * l.out}};
}

LayerEffect effect(const BatchNorm& l, const Extent& in) {
  if (in.c != l.channels) does_not_fit(l.name, std::to_string(l.channels) + " channels", in);
  return {in, {2 * std::int64_t{l.channels}, 0, (l.is_1d ? 0 : 2 * in.size()) + (l.relu ? in.size() : 0)}};
}

Extent pooled(const std::string& name, const Extent& in, int k) {
  if (in.h < k || in.w < k)
    does_not_fit(name, "a map of at least " + std::to_string(k) + " pixels a side", in);
  return {in.c, in.h / k, in.w / k};
}

}  // namespace

std::string to_string(const Extent& e) { return format_shape({e.c, e.h, e.w}); }

const std::string& name_of(const Layer& layer) {
  static const std::string relu = "relu", flatten = "flatten", max_pool = "max_pool", avg_pool = "avg_pool",
                           dropout = "dropout";
  return std::visit(Overloaded{[](const Relu&) -> const std::string& { return relu; },
                               [](const Flatten&) -> const std::string& { return flatten; },
                               [](const MaxPool&) -> const std::string& { return max_pool; },
                               [](const AvgPool&) -> const std::string& { return avg_pool; },
                               [](const Dropout&) -> const std::string& { return dropout; },
                               [](const auto& l) -> const std::string& { return l.name; }},
                    layer);
}

Cost& Cost::operator+=(const Cost& other) {
  parameters += other.parameters;
  macs += other.macs;
  ops_profiler += other.ops_profiler;
  return *this;
}

LayerEffect effect_of(const Layer& layer, const Extent& in) {
  return std::visit(Overloaded{[&](const Relu&) {
                                 return LayerEffect{in, {0, 0, in.size()}};
                               },
                               [&](const Flatten&) {
                                 return LayerEffect{{static_cast<int>(in.size())}, {}};
                               },
                               [&](const Dropout&) {
                                 return LayerEffect{in, {}};
                               },
                               // k, not k^2: the reference reads an int kernel size (oracle-notes S2).
                               [&](const MaxPool& l) {
                                 const Extent out = pooled("max_pool", in, l.k);
                                 return LayerEffect{out, {0, 0, (l.k - 1) * out.size()}};
                               },
                               [&](const AvgPool& l) {
                                 const Extent out = pooled("avg_pool", in, l.k);
                                 return LayerEffect{out, {0, 0, l.k * out.size()}};
                               },
                               [&](const ExitPool& l) {
                                 const Extent out = pooled(l.name, in, l.k);
                                 return LayerEffect{out, {1, 0, (2 * l.k - 1) * out.size()}};
                               },
                               [&](const auto& l) { return effect(l, in); }},
                    layer);
}

void declare(Layer& layer, int exit, ParameterSet& parameters) {
  std::visit(Overloaded{[&](Conv2d& l) {
                          l.weight = parameters.parameter({l.name + ".weight", exit, DiskLayout::kConv},
                                                          {l.out, l.in / l.groups, l.kernel, l.kernel});
                          if (l.has_bias) l.bias = parameters.parameter({l.name + ".bias", exit}, {l.out});
                        },
                        [&](Linear& l) {
                          const bool permuted = l.flatten_h * l.flatten_w > 1;
                          l.weight =
                              parameters.parameter({l.name + ".weight",
                                                    exit,
                                                    permuted ? DiskLayout::kLinearFlatten : DiskLayout::kSame,
                                                    l.flatten_h,
                                                    l.flatten_w},
                                                   {l.out, l.in});
                          l.bias = parameters.parameter({l.name + ".bias", exit}, {l.out});
                        },
                        [&](BatchNorm& l) {
                          const Shape shape{l.channels};
                          l.tensors.gamma = parameters.parameter({l.name + ".weight", exit}, shape);
                          l.tensors.beta = parameters.parameter({l.name + ".bias", exit}, shape);
                          l.tensors.running_mean = parameters.buffer({l.name + ".running_mean", exit}, shape);
                          l.tensors.running_var = parameters.buffer({l.name + ".running_var", exit}, shape);
                          l.tensors.momentum = l.momentum;
                        },
                        [&](ExitPool& l) {
                          l.alpha = parameters.parameter({l.name, exit}, {1});
                        },
                        [](auto&) {}},
             layer);
}

}  // namespace offramp::nets
