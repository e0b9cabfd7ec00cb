// Losses. The kernel makes the gradient together with the loss; the node keeps it and scales it by what comes
// from above (one, nearly always).
#include "kernels/losses.h"

#include "engine/ops.h"
#include "engine/ops/check.h"
#include "engine/ops/work.h"
#include "engine/recording.h"
#include "engine/shards.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"

namespace offramp {
namespace {

class LossNode final : public Node {
 public:
  LossNode(const char* name, std::vector<Tensor> gradients) : name_(name), gradients_(std::move(gradients)) {}
  const char* name() const override { return name_; }
  void backward(Tensor dy, GradSink& dx) override {
    for (std::size_t i = 0; i < gradients_.size(); ++i) {
      Tensor g = std::exchange(gradients_[i], {});
      if (!g) continue;
      const float* in = std::as_const(g).data();
      float* out = g.data();
      dispatch(g.device(), [&](auto& ctx) {
        scale_by(ctx, g.size(), std::as_const(dy).data(), in, out, Write::kOverwrite);
      });
      dx.give(static_cast<int>(i), std::move(g));
    }
  }

 private:
  const char* name_;
  std::vector<Tensor> gradients_;  // of each input, or empty
};

void checked_logits(const char* op, const Tensor& logits) {
  check::type(op, "logits", logits, DType::kFloat32);
  check::rank(op, "logits", logits, 2);
  if (logits.shape().n() < 1 || logits.shape().c() < 1) {
    throw ShapeError(std::string(op) + ": no samples or no classes in " + logits.shape().to_string());
  }
}

void checked_per_sample(const char* op, const char* what, const Tensor& t, const Tensor& like, int n) {
  check::type(op, what, t, DType::kInt32);
  check::shape(op, what, t, {n});
  check::same_device(op, like, t);
}

// Mean of row losses [n] as a [1] tensor.
Tensor mean_of_rows(const Tensor& rows) {
  const NoGrad quiet;
  return mean(rows);
}

// Each shard's part of the means of the whole batch, then their sum; confidence and argmax are those of this process's
// samples.
void loss_over_shards(const Shards& shards, const MultiExitLoss& whole, MultiExitResult& r) {
  if (whole.lambda != 0 && whole.strategy.mean == HingeMean::kPerExit)
    throw ValueError("multi_exit_loss: a mean within each exit cannot be taken over shards");
  const Device& device = r.parts.device();
  const int values = whole.num_exits + 2;
  Tensor parts = Tensor::empty({shards.count(), values}, device);
  // The kernel writes [num_exits, samples of the shard]; rows of [num_exits, n] are put together behind.
  Tensor confidence = Tensor::empty({whole.num_exits, whole.n}, device),
         argmax = Tensor::empty({whole.num_exits, whole.n}, device, DType::kInt32);
  float *part = parts.data(), *own_confidence = confidence.data();
  auto* own_argmax = argmax.data<std::int32_t>();
  for_each_shard(whole.n, [&](const ShardOfOp& shard) {
    MultiExitLoss k = whole;
    k.n = static_cast<int>(shard.count);
    k.batch = static_cast<int>(shards.batch());
    for (int e = 0; e < k.num_exits; ++e) {
      k.logits[e] = whole.logits[e] + shard.begin * k.classes;
      if (whole.dlogits[e] != nullptr) k.dlogits[e] = whole.dlogits[e] + shard.begin * k.classes;
    }
    if (whole.labels != nullptr) k.labels = whole.labels + shard.begin;
    if (whole.target != nullptr) k.target = whole.target + shard.begin * k.classes;
    if (whole.exits != nullptr) k.exits = whole.exits + shard.begin;
    k.loss = part + std::int64_t{shard.global} * values;
    k.confidence = own_confidence + shard.begin * k.num_exits;
    k.argmax = own_argmax + shard.begin * k.num_exits;
    k.state = nullptr;  // whether the sum is finite counts
    dispatch(device, [&](auto& ctx) { multi_exit_loss(ctx, k); });
    for (int e = 0; e < k.num_exits; ++e) {
      const std::int64_t from = shard.begin * k.num_exits + e * shard.count,
                         to = std::int64_t{e} * whole.n + shard.begin;
      const auto bytes = static_cast<std::size_t>(shard.count) * sizeof(float);
      device.copy(whole.confidence + to, own_confidence + from, bytes);
      device.copy(whole.argmax + to, own_argmax + from, bytes);
    }
  });
  shards.gather(parts);
  dispatch(device, [&](auto& ctx) {
    column_sum(ctx, shards.count(), values, std::as_const(parts).data(), whole.loss, Write::kOverwrite);
    if (whole.state != nullptr) count_nonfinite(ctx, values, whole.loss, &whole.state->nonfinite);
  });
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& labels) {
  checked_logits("cross_entropy", logits);
  const int n = logits.shape().n(), classes = logits.shape().c();
  checked_per_sample("cross_entropy", "labels", labels, logits, n);
  Recording* rec = Recording::wanting(logits);
  const OpRange range("cross_entropy", moving(logits));
  Tensor rows = Tensor::empty({n}, logits.device());
  Tensor gradient = rec ? Tensor::empty(logits.shape(), logits.device()) : Tensor();
  float *row_loss = rows.data(), *dlogits = rec ? gradient.data() : nullptr;
  dispatch(logits.device(), [&](auto& ctx) {
    cross_entropy(ctx,
                  n,
                  classes,
                  logits.data(),
                  labels.data<std::int32_t>(),
                  row_loss,
                  1.f / static_cast<float>(n),
                  dlogits);
  });
  Tensor loss = mean_of_rows(rows);
  if (rec) rec->push(std::make_unique<LossNode>("cross_entropy", std::vector{gradient}), loss, {logits});
  return loss;
}

Tensor target_loss(const Tensor& logits, const Tensor& target, TargetLoss kind) {
  checked_logits("target_loss", logits);
  check::alike("target_loss", logits, target);
  if (kind == TargetLoss::kCrossEntropy) throw ValueError("target_loss: hard labels go to cross_entropy");
  const int n = logits.shape().n(), classes = logits.shape().c();
  Recording* rec = Recording::wanting(logits);
  const OpRange range("target_loss", moving(logits));
  Tensor rows = Tensor::empty({n}, logits.device());
  Tensor gradient = rec ? Tensor::empty(logits.shape(), logits.device()) : Tensor();
  float *row_loss = rows.data(), *dlogits = rec ? gradient.data() : nullptr;
  dispatch(logits.device(), [&](auto& ctx) {
    target_loss(
        ctx, kind, n, classes, logits.data(), target.data(), row_loss, 1.f / static_cast<float>(n), dlogits);
  });
  Tensor loss = mean_of_rows(rows);
  if (rec) rec->push(std::make_unique<LossNode>("target_loss", std::vector{gradient}), loss, {logits});
  return loss;
}

Tensor strategy_loss(const Tensor& confidences, const Tensor& exits, const StrategyParams& params) {
  checked_logits("strategy_loss", confidences);
  const int num_exits = confidences.shape().n(), n = confidences.shape().c();
  checked_per_sample("strategy_loss", "exits", exits, confidences, n);
  Recording* rec = Recording::wanting(confidences);
  const OpRange range("strategy_loss", moving(confidences));
  Tensor loss = Tensor::empty({1}, confidences.device());
  Tensor gradient = rec ? Tensor::empty(confidences.shape(), confidences.device()) : Tensor();
  float *value = loss.data(), *dconfidence = rec ? gradient.data() : nullptr;
  dispatch(confidences.device(), [&](auto& ctx) {
    strategy_loss(
        ctx, num_exits, n, confidences.data(), exits.data<std::int32_t>(), params, value, dconfidence);
  });
  if (rec) rec->push(std::make_unique<LossNode>("strategy_loss", std::vector{gradient}), loss, {confidences});
  return loss;
}

MultiExitResult multi_exit_loss(std::span<const Tensor> logits, const MultiExitTargets& t) {
  constexpr const char* kOp = "multi_exit_loss";
  if (logits.empty() || logits.size() > static_cast<std::size_t>(kMaxExits)) {
    throw ValueError("multi_exit_loss: expected 1 to " + std::to_string(kMaxExits) + " exits, got " +
                     std::to_string(logits.size()));
  }
  checked_logits(kOp, logits[0]);
  const int num_exits = static_cast<int>(logits.size()), n = logits[0].shape().n(),
            classes = logits[0].shape().c();
  for (const Tensor& l : logits) check::alike(kOp, logits[0], l);
  check::type(kOp, "exit weights", t.exit_weight, DType::kFloat32);
  check::shape(kOp, "exit weights", t.exit_weight, {num_exits});
  check::same_device(kOp, logits[0], t.exit_weight);
  if (t.kind == TargetLoss::kCrossEntropy) {
    checked_per_sample(kOp, "labels", t.labels, logits[0], n);
  } else {
    check::alike(kOp, logits[0], t.target);
  }
  if (t.lambda != 0) checked_per_sample(kOp, "exits", t.exits, logits[0], n);

  const Device& device = logits[0].device();
  Recording* rec = Recording::wanting_any(logits);
  MultiExitResult r{.loss = {},
                    .parts = Tensor::empty({num_exits + 2}, device),
                    .confidence = Tensor::empty({num_exits, n}, device),
                    .argmax = Tensor::empty({num_exits, n}, device, DType::kInt32)};
  const OpRange range(kOp, {.bytes = 2.0 * num_exits * static_cast<double>(logits[0].bytes())});
  MultiExitLoss k;
  k.num_exits = num_exits, k.n = n, k.classes = classes;
  k.kind = t.kind;
  std::vector<Tensor> gradients(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    k.logits[i] = logits[i].data();
    if (!rec || !rec->wants(logits[i])) continue;
    gradients[i] = Tensor::empty(logits[i].shape(), device, DType::kFloat32, kOp);
    k.dlogits[i] = gradients[i].data();
  }
  k.labels = t.labels ? t.labels.data<std::int32_t>() : nullptr;
  k.target = t.target ? t.target.data() : nullptr;
  k.exit_weight = t.exit_weight.data();
  k.lambda = t.lambda;
  k.strategy = t.strategy;
  k.exits = t.exits ? t.exits.data<std::int32_t>() : nullptr;
  k.loss = r.parts.data();
  k.confidence = r.confidence.data();
  k.argmax = r.argmax.data<std::int32_t>();
  k.state = t.state;
  if (const Shards* shards = Shards::current()) {
    loss_over_shards(*shards, k, r);
  } else {
    dispatch(device, [&](auto& ctx) { multi_exit_loss(ctx, k); });
  }
  r.loss = Tensor::view(r.parts.storage(), 0, {1}, DType::kFloat32);
  if (rec) rec->push(std::make_unique<LossNode>(kOp, std::move(gradients)), r.loss, logits);
  return r;
}

}  // namespace offramp
