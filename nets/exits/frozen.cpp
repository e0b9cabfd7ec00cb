#include "nets/exits/frozen.h"

#include <cmath>
#include <utility>

#include "base/errors.h"
#include "engine/recording.h"
#include "nets/graph/overloaded.h"

namespace offramp::nets {
namespace {

// A convolution with the batch norm behind it: w'[k] = w[k] * s, b'[k] = (b[k] - mean) * s + beta with
// s = gamma / sqrt(var + eps), in double, rounded once.
struct Folded {
  std::vector<float> weight, bias;
};

Folded fold(const Conv2d& conv, const BatchNorm* norm) {
  Folded f{conv.weight.to_host<float>(), std::vector<float>(static_cast<std::size_t>(conv.out), 0.f)};
  if (conv.bias) f.bias = conv.bias.to_host<float>();
  if (!norm) return f;
  const auto gamma = norm->tensors.gamma.to_host<float>(), beta = norm->tensors.beta.to_host<float>(),
             mean = norm->tensors.running_mean.to_host<float>(),
             var = norm->tensors.running_var.to_host<float>();
  const std::size_t taps = f.weight.size() / f.bias.size();  // memory K,R,S,C: a filter is contiguous
  for (std::size_t k = 0; k < f.bias.size(); ++k) {
    const double scale = static_cast<double>(gamma[k]) /
                         std::sqrt(static_cast<double>(var[k]) + static_cast<double>(norm->tensors.eps));
    for (std::size_t i = 0; i < taps; ++i) {
      float& w = f.weight[k * taps + i];
      w = static_cast<float>(static_cast<double>(w) * scale);
    }
    f.bias[k] = static_cast<float>((static_cast<double>(f.bias[k]) - static_cast<double>(mean[k])) * scale +
                                   static_cast<double>(beta[k]));
  }
  return f;
}

template <class T>
auto packed_step(const Device& device, Conv2dGeom g, const Folded& folded, bool relu) {
  using Run = std::function<Tensor(const Tensor&, const Tensor&)>;
  // The packing reads device memory.
  const Tensor w = Tensor::from<float>({g.w_size()}, folded.weight, device);
  const Tensor b = Tensor::from<float>({g.k}, folded.bias, device);
  Run run;
  dispatch(device, [&](auto& ctx) {
    auto packed = conv2d_pack<T>(ctx, g, w.data(), b.data());
    run = [g, packed = std::move(packed), relu, device](const Tensor& x, const Tensor& residual) {
      Conv2dGeom geom = g;
      geom.n = x.shape().n();
      Tensor y = Tensor::empty({geom.n, geom.k, geom.out_h(), geom.out_w()}, device, kDTypeOf<T>, "frozen");
      T* out = y.data<T>();
      const T* add = residual ? std::as_const(residual).template data<T>() : nullptr;
      using Context = std::remove_reference_t<decltype(ctx)>;
      dispatch(device, [&](auto& now) {
        if constexpr (std::is_same_v<std::remove_reference_t<decltype(now)>, Context>) {
          conv2d_forward_packed<T>(now, geom, *packed, x.data<T>(), add, relu, out);
        }
      });
      return y;
    };
  });
  return run;
}

}  // namespace

class FrozenNet::Builder {
 public:
  Builder(const Network& net) : device_(net.device()), mixed_(net.options().precision == Precision::kMixed) {}

  // The steps of a list of layers on samples of `extent`, which becomes that of the output. `sum_relu`: the
  // last convolution also adds the residual, with (true) or without (false) a ReLU; null: no residual.
  std::vector<Step> steps(const std::vector<Layer>& layers, Extent& extent, const bool* sum_relu) const {
    std::vector<Step> out;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const Extent in = extent;
      extent = effect_of(layers[i], extent).out;
      if (std::holds_alternative<Dropout>(layers[i])) continue;
      const auto* conv = std::get_if<Conv2d>(&layers[i]);
      if (!conv) {
        out.push_back(copied(layers[i]));
        continue;
      }
      std::size_t next = i + 1;  // a dropout between is nothing in evaluation
      while (next < layers.size() && std::holds_alternative<Dropout>(layers[next])) ++next;
      const BatchNorm* norm = next < layers.size() ? std::get_if<BatchNorm>(&layers[next]) : nullptr;
      if (norm) i = next;
      const bool last = i + 1 == layers.size();
      const bool relu = last && sum_relu ? *sum_relu : norm && norm->relu;
      out.push_back(packed(*conv, norm, in, relu));
    }
    return out;
  }

  FrozenBlock block(const Block& b, Extent& extent) const {
    FrozenBlock frozen;
    frozen.join = b.join;
    Extent shortcut_extent = extent;
    const bool relu = b.join == Join::kAddRelu;
    frozen.sum_in_last = b.join != Join::kNone;
    frozen.shortcut = steps(b.shortcut, shortcut_extent, nullptr);
    frozen.steps = steps(b.layers, extent, frozen.sum_in_last ? &relu : nullptr);
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
    const Folded folded = fold(conv, norm);
    return mixed_ ? packed_step<bf16>(device_, g, folded, relu)
                  : packed_step<float>(device_, g, folded, relu);
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
};

FrozenNet::FrozenNet(const Network& net) : classes_(net.classes()), input_(net.input()) {
  const NoGrad no_grad;
  const Architecture& arch = net.architecture();
  const Builder builder(net);
  Extent extent = arch.input;
  FrozenSegment segment;
  FrozenBlock stem;
  stem.steps = builder.steps(arch.stem, extent, nullptr);
  if (arch.pixels) stem.steps.insert(stem.steps.begin(), builder.normalisation(net));
  segment.blocks.push_back(std::move(stem));
  std::size_t exit = 0;
  for (std::size_t b = 0; b < arch.blocks.size(); ++b) {
    segment.blocks.push_back(builder.block(arch.blocks[b], extent));
    if (exit < arch.exits.size() && arch.exits[exit].after_block == static_cast<int>(b)) {
      Extent head_extent = extent;
      segment.head = builder.steps(arch.exits[exit++].layers, head_extent, nullptr);
      segments_.push_back(std::exchange(segment, {}));
    }
  }
  segment.head = builder.steps(arch.end, extent, nullptr);
  segments_.push_back(std::move(segment));
}

Tensor FrozenNet::run(const std::vector<Step>& steps, Tensor x) {
  for (const Step& step : steps) x = step(x, {});
  return x;
}

Tensor FrozenNet::run(const FrozenBlock& block, const Tensor& x) {
  if (!block.sum_in_last) return run(block.steps, x);
  const Tensor residual = run(block.shortcut, x);
  Tensor y = x;
  for (std::size_t i = 0; i < block.steps.size(); ++i) {
    y = block.steps[i](y, i + 1 == block.steps.size() ? residual : Tensor());
  }
  return y;
}

Segment FrozenNet::forward_segment(int segment, const Tensor& x) const {
  if (segment < 0 || segment >= num_exits()) {
    throw ValueError("frozen net: segments are 0 to " + std::to_string(num_exits() - 1) + ", got " +
                     std::to_string(segment));
  }
  const NoGrad no_grad;
  const FrozenSegment& s = segments_[static_cast<std::size_t>(segment)];
  Tensor y = x;
  for (const FrozenBlock& block : s.blocks) y = run(block, y);
  Tensor logits = run(s.head, y);
  return {segment + 1 < num_exits() ? y : Tensor(), std::move(logits)};
}

std::vector<Tensor> FrozenNet::forward(const Tensor& x) const {
  std::vector<Tensor> logits;
  Tensor features = x;
  for (int s = 0; s < num_exits(); ++s) {
    Segment segment = forward_segment(s, features);
    features = std::move(segment.features);
    logits.push_back(std::move(segment.logits));
  }
  return logits;
}

}  // namespace offramp::nets
