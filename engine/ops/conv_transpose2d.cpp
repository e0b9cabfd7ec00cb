// Transposed convolution: checks, output, kernel call, node.
#include "kernels/conv_transpose2d.h"

#include "engine/ops.h"
#include "engine/ops/check.h"
#include "engine/ops/work.h"
#include "engine/recording.h"
#include "engine/shards.h"
#include "kernels/elementwise.h"

namespace offramp {
namespace {

ConvTranspose2dGeom checked_geom(const Tensor& x,
                                 const Tensor& w,
                                 const Tensor& bias,
                                 const ConvTranspose2dParams& p) {
  constexpr const char* kOp = "conv_transpose2d";
  check::floating(kOp, "input", x);
  check::type(kOp, "weight", w, DType::kFloat32);
  check::rank(kOp, "input", x, 4);
  check::rank(kOp, "weight", w, 4);
  check::same_device(kOp, x, w);
  const auto both = [&] {
    return " (input " + x.shape().to_string() + ", weight " + w.shape().to_string() + ")";
  };
  if (p.stride < 1 || p.pad < 0 || p.groups < 1 || p.output_pad < 0 || p.output_pad >= p.stride)
    throw ValueError(
        "conv_transpose2d: stride and groups are at least 1, pad at least 0 and output_pad 0 to stride - 1, got "
        "stride " +
        std::to_string(p.stride) + ", pad " + std::to_string(p.pad) + ", output_pad " +
        std::to_string(p.output_pad) + ", groups " + std::to_string(p.groups));
  const ConvTranspose2dGeom g{.n = x.shape().n(),
                              .h = x.shape().h(),
                              .w = x.shape().w(),
                              .c = x.shape().c(),
                              .k = w.shape().c() * p.groups,
                              .r = w.shape().h(),
                              .s = w.shape().w(),
                              .stride = p.stride,
                              .pad = p.pad,
                              .output_pad = p.output_pad,
                              .groups = p.groups};
  if (w.shape().n() != g.c)
    throw ShapeError("conv_transpose2d: weight wants " + std::to_string(w.shape().n()) +
                     " input channels, input has " + std::to_string(g.c) + both());
  if (g.c % g.groups != 0)
    throw ShapeError("conv_transpose2d: " + std::to_string(g.groups) +
                     " groups do not divide the input's channels" + both());
  if (g.r < 1 || g.s < 1 || g.h < 1 || g.w < 1 || g.out_h() < 1 || g.out_w() < 1)
    throw ShapeError("conv_transpose2d: nothing is left of the output, " + std::to_string(g.out_h()) + " x " +
                     std::to_string(g.out_w()) + both());
  if (bias) {
    check::type(kOp, "bias", bias, DType::kFloat32);
    check::shape(kOp, "bias", bias, {g.k});
  }
  return g;
}

// Of one shard: its geometry, and where its first sample stands in x and in y.
struct ConvTransposeShard {
  ConvTranspose2dGeom g;
  std::int64_t x, y;
  ConvTransposeShard(ConvTranspose2dGeom whole, const ShardOfOp& shard)
      : g(whole),
        x(whole.n == 0 ? 0 : whole.x_size() / whole.n * shard.begin),
        y(whole.n == 0 ? 0 : whole.y_size() / whole.n * shard.begin) {
    g.n = static_cast<int>(shard.count);
  }
};

template <class T>
class ConvTranspose2dNode final : public Node {
 public:
  ConvTranspose2dNode(const ConvTranspose2dGeom& g, Saved x, Saved w, const Device& device)
      : g_(g), x_(std::move(x)), w_(std::move(w)), device_(device) {}
  const char* name() const override { return "conv_transpose2d"; }
  Work work() const override {  // as the convolution's
    const double products = (x_ ? 1 : 0) + (w_ ? 1 : 0);
    return {.flops = products * 2.0 * static_cast<double>(g_.macs())};
  }
  void backward(Tensor dy, GradSink& dx) override {
    const T* up = std::as_const(dy).data<T>();
    dispatch(device_, [&](auto& ctx) {
      if (dx.wants(1)) {
        const GradOut out = dx.out_of_shards(1, {g_.c, g_.group_k(), g_.r, g_.s}, DType::kFloat32);
        const T* x = x_.get().template data<T>();
        for_each_shard(g_.n, [&](const ShardOfOp& shard) {
          const ConvTransposeShard at(g_, shard);
          conv_transpose2d_backward_weight(
              ctx, at.g, x + at.x, up + at.y, out.as<float>(shard.index), out.write);
        });
      }
      if (dx.wants(2)) {
        const GradOut out = dx.out_of_shards(2, {g_.k}, DType::kFloat32);
        for_each_shard(g_.n, [&](const ShardOfOp& shard) {
          const ConvTransposeShard at(g_, shard);
          conv_transpose2d_backward_bias(ctx, at.g, up + at.y, out.as<float>(shard.index), out.write);
        });
      }
      x_ = {};
      if (dx.wants(0)) {
        const Shape shape{g_.n, g_.c, g_.h, g_.w};
        const GradOut out = dx.out(0, shape, kDTypeOf<T>);
        const float* w = w_.get().template data<float>();
        const auto into = [&](T* to) {
          for_each_shard(g_.n, [&](const ShardOfOp& shard) {
            const ConvTransposeShard at(g_, shard);
            conv_transpose2d_backward_input(ctx, at.g, up + at.y, w, to + at.x);
          });
        };
        if (out.write == Write::kOverwrite) {
          into(out.as<T>());
        } else {  // the convolution's forward overwrites
          Tensor part = Tensor::empty(shape, device_, kDTypeOf<T>, "conv_transpose2d");
          into(part.data<T>());
          accumulate(ctx, g_.x_size(), std::as_const(part).template data<T>(), out.as<T>());
        }
      }
    });
  }

 private:
  ConvTranspose2dGeom g_;
  Saved x_, w_;
  Device device_;
};

}  // namespace

Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& bias, ConvTranspose2dParams p) {
  const ConvTranspose2dGeom g = checked_geom(x, w, bias, p);
  Tensor y = Tensor::empty({g.n, g.k, g.out_h(), g.out_w()}, x.device(), x.dtype(), "conv_transpose2d");
  const OpRange range("conv_transpose2d", computing(2.0 * static_cast<double>(g.macs()), x, w, bias, y));
  by_float_type(x.dtype(), "conv_transpose2d", [&]<class T>() {
    T* out = y.data<T>();
    dispatch(x.device(), [&](auto& ctx) {
      for_each_shard(g.n, [&](const ShardOfOp& shard) {
        const ConvTransposeShard at(g, shard);
        conv_transpose2d_forward(
            ctx, at.g, x.data<T>() + at.x, w.data(), bias ? bias.data() : nullptr, out + at.y);
      });
    });
    if (Recording* rec = Recording::wanting(x, w, bias)) {
      const Saved keep_x(rec->wants(w) ? x : Tensor()), keep_w(rec->wants(x) ? w : Tensor());
      rec->push(std::make_unique<ConvTranspose2dNode<T>>(g, keep_x, keep_w, x.device()), y, {x, w, bias});
    }
  });
  return y;
}

}  // namespace offramp
