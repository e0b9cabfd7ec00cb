// Convolution: checks, output, kernel call, node.
#include "kernels/conv2d.h"

#include "engine/ops.h"
#include "engine/ops/check.h"
#include "engine/ops/pending_conv2d.h"
#include "engine/ops/work.h"
#include "engine/recording.h"
#include "engine/shards.h"

namespace offramp {
namespace {

Conv2dGeom checked_geom(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p) {
  check::floating("conv2d", "input", x);
  check::type("conv2d", "weight", w, DType::kFloat32);
  check::rank("conv2d", "input", x, 4);
  check::rank("conv2d", "weight", w, 4);
  check::same_device("conv2d", x, w);
  const auto both = [&] {
    return " (input " + x.shape().to_string() + ", weight " + w.shape().to_string() + ")";
  };
  const Conv2dGeom g{.n = x.shape().n(),
                     .h = x.shape().h(),
                     .w = x.shape().w(),
                     .c = x.shape().c(),
                     .k = w.shape().n(),
                     .r = w.shape().h(),
                     .s = w.shape().w(),
                     .stride = p.stride,
                     .pad = p.pad,
                     .groups = p.groups};
  if (p.stride < 1 || p.pad < 0 || p.groups < 1) {
    throw ValueError("conv2d: stride and groups are at least 1 and pad at least 0, got stride " +
                     std::to_string(p.stride) + ", pad " + std::to_string(p.pad) + ", groups " +
                     std::to_string(p.groups));
  }
  if (g.c % g.groups != 0 || g.k % g.groups != 0) {
    throw ShapeError("conv2d: " + std::to_string(g.groups) + " groups do not divide the channels" + both());
  }
  if (w.shape().c() != g.group_c()) {
    throw ShapeError("conv2d: weight wants " + std::to_string(w.shape().c() * g.groups) +
                     " input channels, input has " + std::to_string(g.c) + both());
  }
  if (g.r < 1 || g.s < 1 || g.h + 2 * g.pad < g.r || g.w + 2 * g.pad < g.s) {
    throw ShapeError("conv2d: the filter is larger than the padded input" + both());
  }
  if (bias) {
    check::type("conv2d", "bias", bias, DType::kFloat32);
    check::shape("conv2d", "bias", bias, {g.k});
  }
  return g;
}

// Of one shard: its geometry, and where its first sample stands in x and in y.
struct ConvShard {
  Conv2dGeom g;
  std::int64_t x, y;
  ConvShard(Conv2dGeom whole, const ShardOfOp& shard)
      : g(whole),
        x(whole.n == 0 ? 0 : whole.x_size() / whole.n * shard.begin),
        y(whole.n == 0 ? 0 : whole.y_size() / whole.n * shard.begin) {
    g.n = static_cast<int>(shard.count);
  }
};

template <class T>
class Conv2dNode final : public Node {
 public:
  Conv2dNode(const Conv2dGeom& g, Saved x, Saved w, const Device& device)
      : g_(g), x_(std::move(x)), w_(std::move(w)), device_(device) {}
  const char* name() const override { return "conv2d"; }
  Work work() const override {  // the gradients of what was kept: of the weight with x, of the input with w
    const double products = (x_ ? 1 : 0) + (w_ ? 1 : 0);
    return {.flops = products * 2.0 * static_cast<double>(g_.macs())};
  }
  void backward(Tensor dy, GradSink& dx) override {
    const T* up = std::as_const(dy).data<T>();
    dispatch(device_, [&](auto& ctx) {
      if (dx.wants(1)) {
        const GradOut out = dx.out_of_shards(1, {g_.k, g_.group_c(), g_.r, g_.s}, DType::kFloat32);
        const T* x = x_.get().template data<T>();
        for_each_shard(g_.n, [&](const ShardOfOp& shard) {
          const ConvShard at(g_, shard);
          conv2d_backward_weight(ctx, at.g, x + at.x, up + at.y, out.as<float>(shard.index), out.write);
        });
      }
      if (dx.wants(2)) {
        const GradOut out = dx.out_of_shards(2, {g_.k}, DType::kFloat32);
        for_each_shard(g_.n, [&](const ShardOfOp& shard) {
          const ConvShard at(g_, shard);
          conv2d_backward_bias(ctx, at.g, up + at.y, out.as<float>(shard.index), out.write);
        });
      }
      x_ = {};
      if (dx.wants(0)) {
        const GradOut out = dx.out(0, {g_.n, g_.c, g_.h, g_.w}, kDTypeOf<T>);
        const float* w = w_.get().template data<float>();
        for_each_shard(g_.n, [&](const ShardOfOp& shard) {
          const ConvShard at(g_, shard);
          conv2d_backward_input(ctx, at.g, up + at.y, w, out.as<T>() + at.x, out.write);
        });
      }
    });
  }

 private:
  Conv2dGeom g_;
  Saved x_, w_;
  Device device_;
};

template <class T>
void record(const Conv2dGeom& g, const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& y) {
  Recording* rec = Recording::wanting(x, w, bias);
  if (rec == nullptr) return;
  const Saved keep_x(rec->wants(w) ? x : Tensor()), keep_w(rec->wants(x) ? w : Tensor());
  rec->push(std::make_unique<Conv2dNode<T>>(g, keep_x, keep_w, x.device()), y, {x, w, bias});
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, Conv2dParams p) {
  const Conv2dGeom g = checked_geom(x, w, bias, p);
  Tensor y = Tensor::empty({g.n, g.k, g.out_h(), g.out_w()}, x.device(), x.dtype(), "conv2d");
  const OpRange range("conv2d", computing(2.0 * static_cast<double>(g.macs()), x, w, bias, y));
  by_float_type(x.dtype(), "conv2d", [&]<class T>() {
    T* out = y.data<T>();
    dispatch(x.device(), [&](auto& ctx) {
      for_each_shard(g.n, [&](const ShardOfOp& shard) {
        const ConvShard at(g, shard);
        conv2d_forward(ctx, at.g, x.data<T>() + at.x, w.data(), bias ? bias.data() : nullptr, out + at.y);
      });
    });
    record<T>(g, x, w, bias, y);
  });
  return y;
}

Tensor conv2d_batch_norm(const Tensor& x,
                         const Tensor& w,
                         const Tensor& bias,
                         Conv2dParams p,
                         BatchNormTensors& bn,
                         const BatchNormCall& call) {
  // Statistics over shards are taken shard by shard, of a convolution that is there.
  if (!call.train || x.device().kind() == DeviceKind::kCpu || Shards::current() != nullptr)
    return batch_norm(conv2d(x, w, bias, p), bn, call);
  const Conv2dGeom g = checked_geom(x, w, bias, p);
  const Tensor between = Tensor::empty({g.n, g.k, g.out_h(), g.out_w()}, x.device(), x.dtype(), "conv2d");
  by_float_type(x.dtype(), "conv2d", [&]<class T>() { record<T>(g, x, w, bias, between); });
  const PendingConv2d conv{g, x, w, bias};
  return batch_norm_behind(&conv, between, bn, call);
}

}  // namespace offramp
