#include "nets/exits/frozen_conv.h"

#include <memory>
#include <utility>

#include "engine/ops.h"
#include "engine/recording.h"
#include "kernels/elementwise.h"

namespace offramp::nets {
namespace {

// dx (of n samples) from dy.
template <class T>
using Adjoint = std::function<void(int n, const T* dy, T* dx, Write)>;

// Runs f on the device's context where that is a Context.
template <class Context, class F>
void with(const Device& device, F f) {
  dispatch(device, [&](auto& now) {
    if constexpr (std::is_same_v<std::remove_reference_t<decltype(now)>, Context>) f(now);
  });
}

Conv2dGeom of_samples(Conv2dGeom g, int n) {
  g.n = n;
  return g;
}

// dx of a convolution with stride 1 is a convolution of dy with the filters turned around, whose weights can be packed.
bool turns(const Conv2dGeom& g) {
  return g.stride == 1 && g.r == g.s && g.pad < g.r && (g.groups == 1 || g.depthwise());
}
Conv2dGeom turned(const Conv2dGeom& g) {
  return {.n = 1,
          .h = g.out_h(),
          .w = g.out_w(),
          .c = g.k,
          .k = g.c,
          .r = g.r,
          .s = g.s,
          .pad = g.r - 1 - g.pad,
          .groups = g.groups};
}
// K,R,S,C of g -> K,R,S,C of turned(g).
std::vector<float> turned(const Conv2dGeom& g, const std::vector<float>& w) {
  std::vector<float> out(w.size());
  const int taps = g.r * g.s, in = g.group_c(), filters = g.group_k();
  for (int group = 0; group < g.groups; ++group)
    for (int k = 0; k < filters; ++k)
      for (int t = 0; t < taps; ++t)
        for (int c = 0; c < in; ++c) {
          const auto from = (static_cast<std::size_t>(group * filters + k) * taps + t) * in + c;
          const auto to = (static_cast<std::size_t>(group * in + c) * taps + (taps - 1 - t)) * filters + k;
          out[to] = w[from];
        }
  return out;
}

template <class T, class Context>
Adjoint<T> adjoint(const Device& device, Context& ctx, const Conv2dGeom& g, const FoldedConv& folded) {
  if (!turns(g)) {
    const Tensor w = Tensor::from<float>({g.w_size()}, folded.weight, device);
    return [=](int n, const T* dy, T* dx, Write write) {
      with<Context>(
          device, [&](auto& now) { conv2d_backward_input(now, of_samples(g, n), dy, w.data(), dx, write); });
    };
  }
  const Conv2dGeom back = turned(g);
  const Tensor w = Tensor::from<float>({back.w_size()}, turned(g, folded.weight), device);
  return [=, packed = conv2d_pack<T>(ctx, back, w.data(), nullptr)](int n, const T* dy, T* dx, Write write) {
    with<Context>(device, [&](auto& now) {
      const Conv2dGeom now_back = of_samples(back, n);
      if (write == Write::kOverwrite) {
        conv2d_forward_packed<T>(now, now_back, *packed, dy, nullptr, false, dx);
        return;
      }
      Tensor part = Tensor::empty({now_back.y_size()}, device, kDTypeOf<T>, "frozen");
      T* out = part.data<T>();
      conv2d_forward_packed<T>(now, now_back, *packed, dy, nullptr, false, out);
      accumulate(now, now_back.y_size(), out, dx);
    });
  };
}

template <class T>
class FrozenConvNode final : public Node {
 public:
  // y: kept for the mask of a ReLU, else empty.
  FrozenConvNode(const Conv2dGeom& g, Saved y, const Adjoint<T>& adjoint, const Device& device)
      : g_(g), y_(std::move(y)), adjoint_(adjoint), device_(device) {}
  const char* name() const override { return "frozen_conv"; }
  Work work() const override { return {.flops = 2.0 * static_cast<double>(g_.macs())}; }
  void backward(Tensor dy, GradSink& dx) override {
    Tensor dz = std::move(dy);
    if (y_) {
      const Tensor masked = Tensor::empty(dz.shape(), device_, kDTypeOf<T>, "frozen");
      Tensor out = masked;
      T* to = out.data<T>();
      dispatch(device_, [&](auto& ctx) {
        relu_backward(ctx,
                      dz.size(),
                      y_.get().template data<T>(),
                      std::as_const(dz).template data<T>(),
                      to,
                      Write::kOverwrite);
      });
      dz = masked;
      y_ = {};
    }
    if (dx.wants(0)) {
      const GradOut out = dx.out(0, {g_.n, g_.c, g_.h, g_.w}, kDTypeOf<T>);
      adjoint_(g_.n, std::as_const(dz).template data<T>(), out.as<T>(), out.write);
    }
    if (dx.wants(1)) dx.give(1, std::move(dz));
  }

 private:
  Conv2dGeom g_;
  Saved y_;
  const Adjoint<T>& adjoint_;  // of the step, which lives as long as its net
  Device device_;
};

// As ops that the tape knows: transforms its weights in each call, which many samples share.
FrozenStep unpacked(const Device& device, const Conv2dGeom& g, const FoldedConv& folded, bool relu_behind) {
  Tensor w = Tensor::empty({g.k, g.group_c(), g.r, g.s}, device);
  device.upload(w.raw(), folded.weight.data(), w.bytes());
  const Tensor b = Tensor::from<float>({g.k}, folded.bias, device);
  return [=](const Tensor& x, const Tensor& residual) {
    Tensor y = conv2d(x, w, b, {g.stride, g.pad, g.groups});
    if (residual) y = add(y, residual);
    return relu_behind ? relu(y) : y;
  };
}

}  // namespace

template <class T>
FrozenStep frozen_conv(
    const Device& device, const Conv2dGeom& g, const FoldedConv& folded, bool relu, FrozenFor use) {
  constexpr std::int64_t kWeightsInCache = 9 * 256 * 256;
  const bool gradients = use == FrozenFor::kGradients;
  if (gradients && g.r > 1 && g.groups == 1 && g.w_size() > kWeightsInCache)
    return unpacked(device, g, folded, relu);
  // The packing reads device memory.
  const Tensor w = Tensor::from<float>({g.w_size()}, folded.weight, device);
  const Tensor b = Tensor::from<float>({g.k}, folded.bias, device);
  FrozenStep step;
  dispatch(device, [&](auto& ctx) {
    using Context = std::remove_reference_t<decltype(ctx)>;
    const auto back =
        std::make_shared<const Adjoint<T>>(gradients ? adjoint<T>(device, ctx, g, folded) : Adjoint<T>());
    step = [g, packed = conv2d_pack<T>(ctx, g, w.data(), b.data()), back, relu, device](
               const Tensor& x, const Tensor& residual) {
      const Conv2dGeom geom = of_samples(g, x.shape().n());
      Tensor y = Tensor::empty({geom.n, geom.k, geom.out_h(), geom.out_w()}, device, kDTypeOf<T>, "frozen");
      T* out = y.data<T>();
      const T* add = residual ? std::as_const(residual).template data<T>() : nullptr;
      with<Context>(device, [&](auto& now) {
        conv2d_forward_packed<T>(now, geom, *packed, x.data<T>(), add, relu, out);
      });
      if (*back) {
        if (Recording* rec = Recording::wanting(x, residual))
          rec->push(std::make_unique<FrozenConvNode<T>>(geom, Saved(relu ? y : Tensor()), *back, device),
                    y,
                    {x, residual});
      }
      return y;
    };
  });
  return step;
}

template FrozenStep frozen_conv<float>(const Device&, const Conv2dGeom&, const FoldedConv&, bool, FrozenFor);
template FrozenStep frozen_conv<bf16>(const Device&, const Conv2dGeom&, const FoldedConv&, bool, FrozenFor);

}  // namespace offramp::nets
