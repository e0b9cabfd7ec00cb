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
#include "engine/shards.h"
#include "kernels/elementwise.h"

namespace offramp {
namespace {

// What backward needs of the forward pass. Without a residual y can be made again from it in one pass over x.
template <class T>
class Normalised final : public Remake {
 public:
  Normalised(const BatchNormGeom& geom,
             const Tensor& x,
             const BatchNormTensors& bn,
             const Tensor& mean_of,
             const Tensor& inv)
      : g(geom), input(x), gamma(bn.gamma), beta(bn.beta), mean(mean_of), inv_std(inv) {}
  Tensor make() const override {
    const Tensor& x = input.get();
    Tensor y = Tensor::empty(x.shape(), x.device(), x.dtype(), "batch_norm");
    const OpRange range("batch_norm", moving(x, y));
    T* out = y.data<T>();
    const BatchNormEval<T> args{.x = x.data<T>(),
                                .gamma = gamma.get().data(),
                                .beta = beta.get().data(),
                                .running_mean = mean.get().data(),
                                .running_var = nullptr,
                                .residual = nullptr,
                                .y = out,
                                .inv_std = inv_std.get().data()};
    dispatch(x.device(), [&](auto& ctx) { batch_norm_eval(ctx, g, args); });
    return y;
  }
  const BatchNormGeom g;
  const Saved input, gamma, beta, mean, inv_std;
};

template <class T>
class BatchNormNode final : public Node {
 public:
  BatchNormNode(std::shared_ptr<const Normalised<T>> kept, const Shape& shape, bool train, Saved y)
      : kept_(std::move(kept)), g_(kept_->g), shape_(shape), train_(train), y_(std::move(y)) {}
  const char* name() const override { return "batch_norm"; }
  Work work() const override {  // x and dy twice, for the sums and for dx
    const double pass = static_cast<double>(g_.rows) * g_.channels * sizeof(T);
    return {.bytes = 5 * pass};
  }

  void backward(Tensor dy, GradSink& dx) override {
    const Tensor& x = kept_->input.get();
    const bool params = dx.wants(1) || dx.wants(2);
    BatchNormBackward<T> b{.dy = std::as_const(dy).template data<T>(),
                           .x = x.template data<T>(),
                           .y = y_ ? y_.get().template data<T>() : nullptr,
                           .gamma = kept_->gamma.get().data(),
                           .beta = kept_->beta.get().data(),
                           .mean = kept_->mean.get().data(),
                           .inv_std = kept_->inv_std.get().data(),
                           .batch_statistics = train_,
                           .dx = nullptr,
                           .dx_write = Write::kOverwrite,
                           .dresidual = nullptr,
                           .dresidual_write = Write::kOverwrite,
                           .dgamma = nullptr,
                           .dbeta = nullptr,
                           .dparam_write = Write::kOverwrite};
    Tensor scratch, sums;
    if (const Shards* shards = Shards::current(); shards != nullptr && (params || (train_ && dx.wants(0)))) {
      sums = sums_over_shards(*shards, b, dx);
      b.sums = sums.data();
      b.total_rows = g_.rows / shards->local_samples() * shards->batch();
    } else if (params) {
      // Gamma and beta are two parameters of one op; where only one is a target the other goes to scratch.
      if (!dx.wants(1) || !dx.wants(2)) scratch = Tensor::empty({g_.channels}, x.device());
      const auto place = [&](int i) {
        return dx.wants(i) ? dx.out_of_shards(i, {g_.channels}, DType::kFloat32)
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

 private:
  // Sums of dz and dz * xhat over the whole batch, [2][channels]; each shard's part is its gradient of beta and gamma.
  Tensor sums_over_shards(const Shards& shards, BatchNormBackward<T> b, GradSink& dx) {
    const Device& device = kept_->input.get().device();
    Tensor parts =
        Tensor::empty({shards.count(), 2 * g_.channels}, device, DType::kFloat32, "batch_norm sums");
    float* all = parts.data();
    const GradOut gamma = dx.wants(1) ? dx.out_of_shards(1, {g_.channels}, DType::kFloat32) : GradOut{},
                  beta = dx.wants(2) ? dx.out_of_shards(2, {g_.channels}, DType::kFloat32) : GradOut{};
    const T *dy = b.dy, *x = b.x, *y = b.y;
    const auto samples = shape_[0];
    for_each_shard(samples, [&](const ShardOfOp& shard) {
      BatchNormGeom g = g_;
      g.rows = g_.rows / samples * shard.count;
      const std::int64_t at = g_.rows / samples * shard.begin * g_.channels;
      b.dy = dy + at, b.x = x + at, b.y = y == nullptr ? nullptr : y + at;
      float* own = all + std::int64_t{shard.global} * 2 * g_.channels;
      b.dbeta = own, b.dgamma = own + g_.channels;
      dispatch(device, [&](auto& ctx) {
        batch_norm_backward(ctx, g, b);
        const auto put = [&](const GradOut& out, const float* part) {
          if (out.data == nullptr) return;
          float* to = out.as<float>(shard.index);
          if (out.write == Write::kOverwrite) {
            device.copy(to, part, static_cast<std::size_t>(g_.channels) * sizeof(float));
          } else {
            accumulate(ctx, g_.channels, part, to);
          }
        };
        put(beta, b.dbeta);
        put(gamma, b.dgamma);
      });
    });
    shards.gather(parts);
    return Shards::sum(parts);
  }

  std::shared_ptr<const Normalised<T>> kept_;
  BatchNormGeom g_;
  Shape shape_;
  bool train_;
  Saved y_;
};

// Mean and biased variance of the whole batch, shard by shard; running averages move.
struct BatchStatistics {
  Tensor mean, var;
};
template <class T>
BatchStatistics statistics_over_shards(const Shards& shards,
                                       const BatchNormGeom& g,
                                       const Tensor& x,
                                       BatchNormTensors& bn) {
  const Device& device = x.device();
  const Shape per_channel{g.channels};
  BatchStatistics s{Tensor::empty(per_channel, device), Tensor::empty(per_channel, device)};
  Tensor parts = Tensor::empty({shards.count(), 2 * g.channels}, device, DType::kFloat32, "batch_norm parts");
  const std::int64_t samples = x.shape()[0], rows = g.rows / samples;
  float *all = parts.data(), *mean = s.mean.data(), *var = s.var.data();
  for_each_shard(samples, [&](const ShardOfOp& shard) {
    BatchNormGeom own = g;
    own.rows = rows * shard.count;
    float* to = all + std::int64_t{shard.global} * 2 * g.channels;
    dispatch(device, [&](auto& ctx) {
      device.set_zero(to, 2 * static_cast<std::size_t>(g.channels) * sizeof(float));
      batch_norm_train(ctx,
                       own,
                       BatchNormTrain<T>{.x = x.data<T>() + rows * shard.begin * g.channels,
                                         .gamma = std::as_const(bn.gamma).data(),
                                         .beta = std::as_const(bn.beta).data(),
                                         .residual = nullptr,
                                         .momentum = 1,
                                         .running_mean = to,
                                         .running_var = to + g.channels,
                                         .saved_mean = mean,
                                         .saved_inv_std = var,
                                         .y = nullptr});
    });
  });
  shards.gather(parts);
  dispatch(device, [&](auto& ctx) {
    batch_norm_combine(ctx,
                       {.count = shards.count(),
                        .channels = g.channels,
                        .images = shards.batch(),
                        .rows_per_image = rows,
                        .parts = std::as_const(parts).data(),
                        .momentum = bn.momentum,
                        .running_mean = bn.running_mean.data(),
                        .running_var = bn.running_var.data(),
                        .mean = mean,
                        .var = var});
  });
  return s;
}

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
    const Shards* shards = Shards::current();
    if (call.train && shards != nullptr) {
      const BatchStatistics batch = statistics_over_shards<T>(*shards, g, x, bn);
      const BatchNormEval<T> args{.x = x.data<T>(),
                                  .gamma = std::as_const(bn.gamma).data(),
                                  .beta = std::as_const(bn.beta).data(),
                                  .running_mean = batch.mean.data(),
                                  .running_var = batch.var.data(),
                                  .residual = residual,
                                  .y = out};
      dispatch(device, [&](auto& ctx) { batch_norm_eval(ctx, g, args); });
      if (rec) {
        mean = batch.mean;
        inv_std = Tensor::empty(per_channel, device);
        float* inv = inv_std.data();
        dispatch(device,
                 [&](auto& ctx) { batch_norm_inv_std(ctx, g.channels, g.eps, batch.var.data(), inv); });
      }
    } else if (call.train) {
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
    const auto kept = std::make_shared<const Normalised<T>>(g, x, bn, mean, inv_std);
    rec->push(std::make_unique<BatchNormNode<T>>(
                  kept, x.shape(), call.train, Saved(call.relu && call.residual ? y : Tensor())),
              y,
              {x, bn.gamma, bn.beta, call.residual});
    // On a processor the pass over x costs less than the memory of y; a device has the memory, and passes are launches.
    if (!call.residual && device.kind() == DeviceKind::kCpu) y.set_remake(kept);
  });
  return y;
}

}  // namespace offramp
