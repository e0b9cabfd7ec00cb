// y = x W^T + b.
#include "kernels/linear.h"

#include "engine/ops.h"
#include "engine/ops/check.h"
#include "engine/ops/work.h"
#include "engine/recording.h"
#include "engine/shards.h"

namespace offramp {
namespace {

LinearGeom of_shard(LinearGeom g, const ShardOfOp& shard) {
  g.rows = static_cast<int>(shard.count);
  return g;
}

class LinearNode final : public Node {
 public:
  LinearNode(const LinearGeom& g, Saved x, Saved w, const Device& device)
      : g_(g), x_(std::move(x)), w_(std::move(w)), device_(device) {}
  const char* name() const override { return "linear"; }
  Work work() const override {  // the gradients of what was kept: of the weight with x, of the input with w
    const double products = (x_ ? 1 : 0) + (w_ ? 1 : 0);
    return {.flops = products * 2.0 * g_.rows * g_.in * g_.out};
  }
  void backward(Tensor dy, GradSink& dx) override {
    const float* up = std::as_const(dy).data();
    dispatch(device_, [&](auto& ctx) {
      if (dx.wants(1)) {
        const GradOut out = dx.out_of_shards(1, {g_.out, g_.in}, DType::kFloat32);
        const float* x = x_.get().data();
        for_each_shard(g_.rows, [&](const ShardOfOp& shard) {
          linear_backward_weight(ctx,
                                 of_shard(g_, shard),
                                 x + shard.begin * g_.in,
                                 up + shard.begin * g_.out,
                                 out.as<float>(shard.index),
                                 out.write);
        });
      }
      if (dx.wants(2)) {
        const GradOut out = dx.out_of_shards(2, {g_.out}, DType::kFloat32);
        for_each_shard(g_.rows, [&](const ShardOfOp& shard) {
          linear_backward_bias(
              ctx, of_shard(g_, shard), up + shard.begin * g_.out, out.as<float>(shard.index), out.write);
        });
      }
      x_ = {};
      if (dx.wants(0)) {
        const GradOut out = dx.out(0, {g_.rows, g_.in}, DType::kFloat32);
        const float* w = w_.get().data();
        for_each_shard(g_.rows, [&](const ShardOfOp& shard) {
          linear_backward_input(ctx,
                                of_shard(g_, shard),
                                up + shard.begin * g_.out,
                                w,
                                out.as<float>() + shard.begin * g_.in,
                                out.write);
        });
      }
    });
  }

 private:
  LinearGeom g_;
  Saved x_, w_;
  Device device_;
};

}  // namespace

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
  check::type("linear", "input", x, DType::kFloat32);
  check::type("linear", "weight", w, DType::kFloat32);
  check::rank("linear", "input", x, 2);
  check::rank("linear", "weight", w, 2);
  check::same_device("linear", x, w);
  const LinearGeom g{.rows = x.shape().n(), .in = x.shape().c(), .out = w.shape().n()};
  if (w.shape().c() != g.in) {
    throw ShapeError("linear: weight wants " + std::to_string(w.shape().c()) + " features, input has " +
                     std::to_string(g.in) + " (input " + x.shape().to_string() + ", weight " +
                     w.shape().to_string() + ")");
  }
  if (bias) {
    check::type("linear", "bias", bias, DType::kFloat32);
    check::shape("linear", "bias", bias, {g.out});
  }
  Tensor y = Tensor::empty({g.rows, g.out}, x.device(), DType::kFloat32, "linear");
  const OpRange range("linear", computing(2.0 * g.rows * g.in * g.out, x, w, bias, y));
  float* out = y.data();
  dispatch(x.device(), [&](auto& ctx) {
    for_each_shard(g.rows, [&](const ShardOfOp& shard) {
      linear_forward(ctx,
                     of_shard(g, shard),
                     x.data() + shard.begin * g.in,
                     w.data(),
                     bias ? bias.data() : nullptr,
                     out + shard.begin * g.out);
    });
  });
  if (Recording* rec = Recording::wanting(x, w, bias)) {
    const Saved keep_x(rec->wants(w) ? x : Tensor()), keep_w(rec->wants(x) ? w : Tensor());
    rec->push(std::make_unique<LinearNode>(g, keep_x, keep_w, x.device()), y, {x, w, bias});
  }
  return y;
}

}  // namespace offramp
