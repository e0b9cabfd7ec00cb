// Batch normalisation with optional residual and ReLU as one op: one pass over memory where three ops take
// three, and without a residual the ReLU mask is recomputed from the saved input, so the output need not be
// kept.
#include "kernels/batch_norm.h"
#include "kernels/conv2d_batch_norm.h"

#include "engine/ops.h"
#include "engine/ops/check.h"
#include "engine/ops/pending_conv2d.h"
#include "engine/ops/work.h"
#include "engine/recording.h"

namespace offramp {
namespace {

template <class T>
class BatchNormNode final : public Node {
 public:
  BatchNormNode(const BatchNormGeom& g, const Shape& shape, bool train)
      : g_(g), shape_(shape), train_(train) {}
  const char* name() const override { return "batch_norm"; }
  Work work() const override {  // x and dy twice, for the sums and for dx
    const double pass = static_cast<double>(g_.rows) * g_.channels * sizeof(T);
    return {.bytes = 5 * pass};
  }

  void backward(Tensor dy, GradSink& dx) override {
    const auto& x = x_.get();
    const bool params = dx.wants(1) || dx.wants(2);
    BatchNormBackward<T> b{.dy = std::as_const(dy).template data<T>(),
                           .x = x.template data<T>(),
                           .y = y_ ? y_.get().template data<T>() : nullptr,
                           .gamma = gamma_.get().data(),
                           .beta = beta_.get().data(),
                           .mean = mean_.get().data(),
                           .inv_std = inv_std_.get().data(),
                           .batch_statistics = train_,
                           .dx = nullptr,
                           .dx_write = Write::kOverwrite,
                           .dresidual = nullptr,
                           .dresidual_write = Write::kOverwrite,
                           .dgamma = nullptr,
                           .dbeta = nullptr,
                           .dparam_write = Write::kOverwrite};
    Tensor scratch;
    if (params) {
      // Gamma and beta are two parameters of one op; where only one is a target the other goes to scratch.
      if (!dx.wants(1) || !dx.wants(2)) scratch = Tensor::empty({g_.channels}, x.device());
      const auto place = [&](int i) {
        return dx.wants(i) ? dx.out(i, {g_.channels}, DType::kFloat32)
                           : GradOut{scratch.raw(), Write::kOverwrite};
      };
      const GradOut gamma = place(1), beta = place(2);
      b.dgamma = gamma.as<float>(), b.dbeta = beta.as<float>();
      // The kernel has one Write for both: where they differ the one to be overwritten joins as zeros.
      b.dparam_write = gamma.write == beta.write ? gamma.write : Write::kAccumulate;
      if (gamma.write != beta.write) {
        const GradOut& fresh = gamma.write == Write::kOverwrite ? gamma : beta;
        x.device().set_zero(fresh.data, static_cast<std::size_t>(g_.channels) * sizeof(float));
      }
    }
    if (dx.wants(0)) {
      const GradOut out = dx.out(0, shape_, kDTypeOf<T>);
      b.dx = out.as<T>(), b.dx_write = out.write;
    }
    if (dx.wants(3)) {
      const GradOut out = dx.out(3, shape_, kDTypeOf<T>);
      b.dresidual = out.as<T>(), b.dresidual_write = out.write;
    }
    dispatch(x.device(), [&](auto& ctx) { batch_norm_backward(ctx, g_, b); });
  }

  BatchNormGeom g_;
  Shape shape_;
  bool train_;
  Saved x_, y_, gamma_, beta_, mean_, inv_std_;
};

}  // namespace

Tensor batch_norm(const Tensor& x, BatchNormTensors& bn, const BatchNormCall& call) {
  return batch_norm_behind(nullptr, x, bn, call);
}

Tensor batch_norm_behind(const PendingConv2d* conv,
                         const Tensor& x,
                         BatchNormTensors& bn,
                         const BatchNormCall& call) {
  constexpr const char* kOp = "batch_norm";
  check::floating(kOp, "input", x);
  if (x.shape().rank() != 4) check::rank(kOp, "input", x, 2);
  const BatchNormGeom g{.rows = x.shape().c() == 0 ? 0 : x.size() / x.shape().c(),
                        .channels = x.shape().c(),
                        .eps = bn.eps,
                        .relu = call.relu};
  const Shape per_channel{g.channels};
  for (const auto& [what, t] : {std::pair<const char*, const Tensor&>{"gamma", bn.gamma},
                                {"beta", bn.beta},
                                {"running mean", bn.running_mean},
                                {"running variance", bn.running_var}}) {
    check::type(kOp, what, t, DType::kFloat32);
    check::shape(kOp, what, t, per_channel);
    check::same_device(kOp, x, t);
  }
  if (call.residual) check::alike(kOp, x, call.residual);
  if (call.train && g.rows == 0)
    throw ShapeError("batch_norm: no rows to take statistics of, input " + x.shape().to_string());

  const Device& device = x.device();
  Tensor y = Tensor::empty(x.shape(), device, x.dtype(), kOp);
  const OpRange range(
      conv ? "conv2d_batch_norm" : kOp,
      conv ? computing(2.0 * static_cast<double>(conv->g.macs()), conv->x, conv->w, x, call.residual, y)
           : moving(x, call.residual, y));
  Tensor mean, inv_std;
  by_float_type(x.dtype(), kOp, [&]<class T>() {
    T* out = y.data<T>();
    const T* residual = call.residual ? call.residual.data<T>() : nullptr;
    Recording* rec = Recording::wanting(x, bn.gamma, bn.beta, call.residual);
    if (call.train) {
      mean = Tensor::empty(per_channel, device), inv_std = Tensor::empty(per_channel, device);
      const BatchNormTrain<T> args{.x = x.data<T>(),
                                   .gamma = std::as_const(bn.gamma).data(),
                                   .beta = std::as_const(bn.beta).data(),
                                   .residual = residual,
                                   .momentum = bn.momentum,
                                   .running_mean = bn.running_mean.data(),
                                   .running_var = bn.running_var.data(),
                                   .saved_mean = mean.data(),
                                   .saved_inv_std = inv_std.data(),
                                   .y = out};
      dispatch(device, [&](auto& ctx) {
        if (conv == nullptr) return batch_norm_train(ctx, g, args);
        Tensor made = x;
        conv2d_batch_norm_train(ctx,
                                conv->g,
                                conv->x.data<T>(),
                                conv->w.data(),
                                conv->bias ? conv->bias.data() : nullptr,
                                made.data<T>(),
                                g,
                                args);
      });
    } else {
      const BatchNormEval<T> args{.x = x.data<T>(),
                                  .gamma = std::as_const(bn.gamma).data(),
                                  .beta = std::as_const(bn.beta).data(),
                                  .running_mean = std::as_const(bn.running_mean).data(),
                                  .running_var = std::as_const(bn.running_var).data(),
                                  .residual = residual,
                                  .y = out};
      dispatch(device, [&](auto& ctx) { batch_norm_eval(ctx, g, args); });
      if (rec) {
        mean = bn.running_mean;
        inv_std = Tensor::empty(per_channel, device);
        float* inv = inv_std.data();
        dispatch(device, [&](auto& ctx) {
          batch_norm_inv_std(ctx, g.channels, g.eps, std::as_const(bn.running_var).data(), inv);
        });
      }
    }
    if (!rec) return;
    auto node = std::make_unique<BatchNormNode<T>>(g, x.shape(), call.train);
    node->x_ = Saved(x);
    if (call.relu && call.residual) node->y_ = Saved(y);
    node->gamma_ = Saved(bn.gamma), node->beta_ = Saved(bn.beta);
    node->mean_ = Saved(mean), node->inv_std_ = Saved(inv_std);
    rec->push(std::move(node), y, {x, bn.gamma, bn.beta, call.residual});
  });
  return y;
}

}  // namespace offramp
