#include "nets/training/trainer.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/errors.h"
#include "engine/recording.h"
#include "kernels/range.h"
#include "kernels/reduce.h"
#include "nets/graph/metadata_text.h"
#include "nets/training/joint.h"

namespace offramp::nets {
namespace {

std::unique_ptr<Optimizer> make_optimizer(ParameterSet& parameters, const TrainOptions& o) {
  const auto range = o.kind == TrainKind::kExitsOnly ? ParameterRange::kExits : ParameterRange::kAll;
  const auto decay = static_cast<float>(o.weight_decay);
  if (o.optimizer == OptimizerKind::kAdam) return make_adam(parameters, {.weight_decay = decay}, range);
  return make_sgd(parameters,
                  {.momentum = static_cast<float>(o.momentum), .weight_decay = decay, .nesterov = false},
                  range);
}

bool all_finite(const Tensor& t) {
  if (t.dtype() == DType::kFloat32 || t.dtype() == DType::kBFloat16) {
    for (const float v : convert(t, DType::kFloat32).to_host<float>()) {
      if (!std::isfinite(v)) return false;
    }
  }
  return true;
}

// Memory for values of a captured step: the same place in every step. Empty stays empty.
Tensor place_for(const Tensor& t) {
  return t ? Tensor::empty(t.shape(), t.device(), t.dtype(), "captured batch") : Tensor();
}
void put(Tensor& place, const Tensor& values) {
  if (values) place.device().copy(place.raw(), values.raw(), values.bytes());
}

std::unique_ptr<const Objective> joint(const TrainOptions& options, const Network& net) {
  check(options, net);
  return std::make_unique<JointObjective>(options, net);
}

}  // namespace

Trainer::Trainer(
    Network& net, const TrainOptions& options, BatchSource& source, StepMode mode, const Ranks& ranks)
    : Trainer(net, options, joint(options, net), nullptr, source, mode, ranks) {}

Trainer::Trainer(Network& net,
                 const TrainOptions& options,
                 const Objective& objective,
                 BatchSource& source,
                 StepMode mode,
                 const Ranks& ranks)
    : Trainer(net, options, nullptr, &objective, source, mode, ranks) {}

Trainer::Trainer(Network& net,
                 const TrainOptions& options,
                 std::unique_ptr<const Objective> own,
                 const Objective* objective,
                 BatchSource& source,
                 StepMode mode,
                 const Ranks& ranks)
    : net_(net),
      options_(options),
      own_(std::move(own)),
      objective_(own_ ? *own_ : *objective),
      source_(source),
      mode_(mode),
      scalars_(net.device()),
      spare_(net.device()),
      device_weights_(Tensor::zeros({net.num_exits()}, net.device())) {
  if (mode == StepMode::kCaptured && net.device().kind() != DeviceKind::kCuda) {
    throw ValueError(std::string("training: captured steps want a cuda device, got ") + net.device().name());
  }
  check(options, net);
  if (source.samples() < 1) throw ValueError("training: the data set is empty");
  optimizer_ = make_optimizer(net.parameters(), options);
  clear_sums();
  const bool several = ranks.host != nullptr && ranks.host->size() > 1;
  if (options.shards < 2 && several)
    throw ValueError("training: " + std::to_string(ranks.host->size()) +
                     " ranks want at least as many shards, got " + text::number(options.shards));
  if (options.shards < 2) return;
  shards_.emplace(options.shards, several ? ranks.host : nullptr, ranks.device);
  check_shards();
  net.parameters().shard_gradients(shards_->local());
}

void Trainer::check_shards() const {
  if (mode_ == StepMode::kCaptured) throw ValueError("training: a step over shards cannot be captured");
  const int last = source_.samples() % options_.batch_size;
  for (const int samples : {std::min(options_.batch_size, source_.samples()), last}) {
    if (samples > 0 && samples < options_.shards) {
      throw ValueError("training: " + text::number(options_.shards) +
                       " shards want batches of as many samples; " +
                       (samples == last ? "the last one of an epoch has " : "these have ") +
                       text::number(samples) + " (" + text::number(source_.samples()) +
                       " samples in batches of " + text::number(options_.batch_size) + ")");
    }
  }
}

std::int64_t Trainer::steps_total() const { return std::int64_t{options_.epochs} * source_.batches(); }

double Trainer::rate(std::int64_t step) const { return options_.rate(at_.epoch, step, steps_total()); }

void Trainer::clear_sums() {
  const auto exits = static_cast<std::size_t>(net_.num_exits());
  at_.seen = 0;
  at_.loss = at_.strategy = 0;
  at_.exit_loss.assign(exits, 0);
  at_.right.assign(exits, 0);
}

void Trainer::begin_epoch() {
  source_.start(at_.epoch, at_.batch);
  weights_ = objective_.weights(at_.epoch);
  if (static_cast<int>(weights_.size()) != net_.num_exits()) {
    throw ValueError("training: expected a loss weight for each of " + std::to_string(net_.num_exits()) +
                     " exits, the objective gave " + std::to_string(weights_.size()));
  }
  net_.device().upload(device_weights_.raw(), weights_.data(), device_weights_.bytes());
  positioned_ = true;
}

TrainPass Trainer::pass() const {
  return {options_.seed,
          scalars_.device_pointer(),
          options_.kind == TrainKind::kExitsOnly && options_.trunk_in_eval_mode};
}

// Forward, losses, backward and update: nothing here waits for the device.
MultiExitResult Trainer::run_program(const Tensor& inputs, MultiExitTargets targets, const Tensor& labels) {
  std::optional<ShardScope> scope;
  if (shards_) scope.emplace(*shards_);
  ParameterSet& parameters = net_.parameters();
  targets.exit_weight = device_weights_;
  targets.state = scalars_.device_pointer();
  MultiExitResult result;
  {
    Recording recording(options_.kind == TrainKind::kExitsOnly ? parameters.exit_targets()
                                                               : parameters.targets());
    const std::vector<Tensor> logits = [&] {
      const Range range("train/forward");
      return net_.forward(inputs, pass());
    }();
    result = [&] {
      const Range range("train/loss");
      return multi_exit_loss(logits, targets);
    }();
    const Range range("train/backward");
    static_cast<void>(recording.grad(result.loss));
  }
  if (shards_) {
    const Range range("train/exchange");
    reduce_gradients();
    count_right(result.argmax, labels);
  }
  const Range range("train/optimizer");
  optimizer_->step(scalars_);
  return result;
}

MultiExitResult Trainer::replay(const Batch& batch, const MultiExitTargets& targets) {
  const int n = batch.labels.shape().n();
  auto found = captured_.find(n);
  if (found == captured_.end()) {
    MultiExitTargets own = targets;
    own.labels = place_for(targets.labels);
    own.target = place_for(targets.target);
    own.exits = place_for(targets.exits);
    found = captured_
                .emplace(n,
                         Captured{place_for(batch.inputs),
                                  place_for(batch.places),
                                  std::move(own),
                                  {},
                                  CapturedStep(net_.device())})
                .first;
  }
  Captured& c = found->second;
  put(c.inputs, batch.inputs);
  put(c.places, batch.places);
  put(c.targets.labels, targets.labels);
  put(c.targets.target, targets.target);
  put(c.targets.exits, targets.exits);
  c.step.run([&] {
    c.result = {};
    c.result = run_program(c.places ? source_.make(c.places) : c.inputs, c.targets, {});
  });
  return c.result;
}

// Puts the step behind those that run already onto the device.
void Trainer::launch() {
  Running running{mode_ == StepMode::kCaptured ? source_.next_to_make() : source_.next(),
                  std::exchange(spare_, Readback(net_.device())),
                  buffers_now()};
  try {
    launch(running);
  } catch (...) {
    restore(running.buffers_before);
    throw;
  }
  running_.push_back(std::move(running));
}

void Trainer::launch(Running& running) {
  const int n = running.batch.labels.shape().n();
  if (shards_) shards_->set_batch(running.batch.whole > 0 ? running.batch.whole : n);
  const std::int64_t step = at_.step + static_cast<std::int64_t>(running_.size());
  // A flag that nobody has looked at yet stops this step too.
  const auto flag = running_.empty() ? NonfiniteFlag::kClear : NonfiniteFlag::kKeep;
  scalars_.set(static_cast<float>(rate(step)), static_cast<int>(step), n, flag);
  const MultiExitTargets targets = objective_.targets(running.batch);
  const MultiExitResult result = mode_ == StepMode::kCaptured
                                     ? replay(running.batch, targets)
                                     : run_program(running.batch.inputs, targets, running.batch.labels);
  running.readback.start(
      std::vector<Tensor>{result.parts, result.argmax, running.batch.labels, scalars_.memory()});
}

// One step ahead, but not across what somebody may save: a checkpoint or the end of an epoch.
bool Trainer::may_look_ahead() const {
  if (mode_ == StepMode::kEager || running_.size() != 1 || at_.batch + 2 >= source_.batches()) return false;
  return options_.checkpoint_every == 0 || (at_.step + 1) % options_.checkpoint_every != 0;
}

// In one sum over all shards, in their order, a bucket at a time.
void Trainer::reduce_gradients() {
  constexpr std::int64_t kBucket = std::int64_t{1} << 20;  // floats of each shard under way
  ParameterSet& parameters = net_.parameters();
  const std::int64_t floats = parameters.values().size(),
                     begin = options_.kind == TrainKind::kExitsOnly ? parameters.trunk_floats() : 0;
  const Device device = net_.device();
  float* own = parameters.gradients().data();
  for (std::int64_t at = begin; at < floats; at += kBucket) {
    const auto n = static_cast<int>(std::min(kBucket, floats - at));
    Tensor bucket = Tensor::empty({shards_->count(), n}, device, DType::kFloat32, "gradients of all shards");
    float* all = bucket.data();
    for (int i = 0; i < shards_->local(); ++i)
      device.copy(all + std::int64_t{shards_->first() + i} * n,
                  own + i * floats + at,
                  static_cast<std::size_t>(n) * sizeof(float));
    shards_->gather(bucket);
    dispatch(device, [&](auto& ctx) {
      column_sum(ctx, shards_->count(), n, std::as_const(bucket).data(), own + at, Write::kOverwrite);
    });
  }
}

// Before the update, so that no rank waits for another one after it.
void Trainer::count_right(const Tensor& argmax, const Tensor& labels) {
  const auto said = argmax.to_host<std::int32_t>(), is = labels.to_host<std::int32_t>();
  const auto exits = static_cast<std::size_t>(net_.num_exits());
  Transport* const host = shards_->transport();
  const std::size_t ranks = host == nullptr ? 1 : static_cast<std::size_t>(host->size()),
                    rank = host == nullptr ? 0 : static_cast<std::size_t>(host->rank());
  std::vector<std::int64_t> all(ranks * exits);
  for (std::size_t e = 0; e < exits; ++e) {
    for (std::size_t i = 0; i < is.size(); ++i)
      all[rank * exits + e] += said[e * is.size() + i] == is[i] ? 1 : 0;
  }
  if (host != nullptr) host->all_gather(all.data(), exits * sizeof(std::int64_t));
  right_.assign(exits, 0);
  for (std::size_t i = 0; i < all.size(); ++i) right_[i % exits] += all[i];
}

// The first of the ranks' words that is not empty.
std::string Trainer::first_word(const std::string& word) const {
  if (!shards_ || shards_->transport() == nullptr) return word;
  constexpr std::size_t kRoom = 256;
  Transport& host = *shards_->transport();
  std::string all(kRoom * static_cast<std::size_t>(host.size()), '\0');
  word.copy(all.data() + kRoom * static_cast<std::size_t>(host.rank()), kRoom - 1);
  host.all_gather(all.data(), kRoom);
  for (std::size_t at = 0; at < all.size(); at += kRoom)
    if (all[at] != '\0') return all.c_str() + at;
  return "";
}

// A copy of the running statistics, in the memory of an earlier one: a step allocates nothing.
Tensor Trainer::buffers_now() {
  const Tensor& buffers = net_.parameters().buffers();
  Tensor copy = std::exchange(spare_buffers_, {});
  if (!copy) return buffers.clone();
  if (buffers.size() > 0) copy.device().copy(copy.raw(), buffers.raw(), buffers.bytes());
  return copy;
}

// The running statistics of before a step that did not happen. Parameters and moments are as they were: what throws
// comes before the update.
void Trainer::restore(const Tensor& buffers_before) {
  Tensor buffers = net_.parameters().buffers();
  if (buffers.size() > 0) buffers.device().copy(buffers.raw(), buffers_before.raw(), buffers.bytes());
}

StepReport Trainer::step() {
  if (!shards_) return step_once();
  try {
    return step_once();
  } catch (...) {
    running_.clear();
    positioned_ = false;
    throw;
  }
}

StepReport Trainer::step_once() {
  if (done()) throw ValueError("training: the run is complete, there is no further step");
  if (ready_) {
    const std::unique_ptr<StepReport> report = std::move(ready_);
    return *report;
  }
  if (!positioned_) begin_epoch();
  if (running_.empty()) launch();
  if (may_look_ahead()) launch();
  return finish();
}

StepReport Trainer::finish() {
  Running running = std::move(running_.front());
  running_.pop_front();
  running.readback.wait();
  const auto parts = running.readback.values<float>(0);
  const auto predicted = running.readback.values<std::int32_t>(1);
  const auto labels = running.readback.values<std::int32_t>(2);
  if (running.readback.values<StepState>(3)[0].nonfinite != 0) {
    running_.clear();  // the step under way changed nothing either
    positioned_ = false;
    scalars_.set(static_cast<float>(rate(at_.step)), static_cast<int>(at_.step), 0);
    try {
      explain_nonfinite(running.batch);
    } catch (...) {
      restore(running.buffers_before);
      throw;
    }
  }
  const int n = shards_ ? static_cast<int>(shards_->batch()) : static_cast<int>(labels.size());
  StepReport report{.epoch = at_.epoch,
                    .batch = at_.batch,
                    .step = at_.step,
                    .samples = n,
                    .loss = parts.front(),
                    .strategy_loss = parts.back(),
                    .exit_loss = {parts.begin() + 1, parts.end() - 1},
                    .epoch_end = {}};
  at_.seen += n;
  at_.loss += report.loss * n;
  at_.strategy += report.strategy_loss * n;
  for (std::size_t e = 0; e < at_.right.size(); ++e) {
    at_.exit_loss[e] += static_cast<double>(report.exit_loss[e]) * n;
    if (shards_) {
      at_.right[e] += right_[e];
      continue;
    }
    for (std::size_t i = 0; i < labels.size(); ++i) {
      at_.right[e] += predicted[e * labels.size() + i] == labels[i] ? 1 : 0;
    }
  }
  ++at_.step;
  if (++at_.batch == source_.batches()) {
    report.epoch_end = this->report();
    at_.batch = 0;
    ++at_.epoch;
    positioned_ = false;
    clear_sums();
  }
  spare_ = std::move(running.readback), spare_buffers_ = std::move(running.buffers_before);
  return report;
}

EpochReport Trainer::report() const {
  EpochReport r;
  r.epoch = at_.epoch;
  r.learning_rate = rate(at_.step - 1);
  r.weights = weights_;
  r.samples = at_.seen;
  const auto n = static_cast<double>(at_.seen);
  r.loss = at_.loss / n;
  r.strategy_loss = at_.strategy / n;
  for (std::size_t e = 0; e < at_.right.size(); ++e) {
    r.exit_loss.push_back(at_.exit_loss[e] / n);
    r.exit_accuracy.push_back(static_cast<double>(at_.right[e]) / n);
  }
  return r;
}

// The step changed no parameter (the optimiser saw the flag), so the same forward gives the same values
// again; this time every layer is looked at.
void Trainer::explain_nonfinite(const Batch& batch) {
  const NoGrad no_grad;
  std::string where;
  const auto look = [&](std::string_view name, const Tensor& y) {
    if (where.empty() && !all_finite(y)) where = name;
  };
  std::optional<ShardScope> scope;
  if (shards_) scope.emplace(*shards_);
  const Tensor inputs = batch.inputs ? batch.inputs : source_.make(batch.places);
  static_cast<void>(net_.forward(inputs, pass(), look));
  if (!all_finite(inputs)) where = "the input";
  for (const ParameterSet::Entry& entry : net_.parameters().entries()) {
    if (entry.trainable && !all_finite(entry.value)) {
      where += (where.empty() ? "" : ", with ") + ("a non-finite parameter " + entry.info.name);
      break;
    }
  }
  where = first_word(where);
  throw NumericError("training: the loss is not finite at epoch " + std::to_string(at_.epoch) + ", batch " +
                     std::to_string(at_.batch) + " (step " + std::to_string(at_.step) +
                     "); first non-finite values behind " + (where.empty() ? "the logits" : where));
}

}  // namespace offramp::nets
