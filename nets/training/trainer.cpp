#include "nets/training/trainer.h"

#include <cmath>

#include "base/errors.h"
#include "engine/recording.h"
#include "kernels/range.h"
#include "nets/graph/metadata_text.h"

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

}  // namespace

Trainer::Trainer(Network& net, const TrainOptions& options, BatchSource& source, StepMode mode)
    : net_(net),
      options_(options),
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
  caps_ = options.exit_weights;
  if (caps_.empty()) {
    caps_.assign(net.costs().exit_fraction_macs.begin(), net.costs().exit_fraction_macs.end() - 1);
  }
  schedule_ = options.schedule();
  optimizer_ = make_optimizer(net.parameters(), options);
  exit_loss_sum_.assign(static_cast<std::size_t>(net.num_exits()), 0);
  right_.assign(static_cast<std::size_t>(net.num_exits()), 0);
}

std::int64_t Trainer::steps_total() const { return std::int64_t{options_.epochs} * source_.batches(); }

void Trainer::begin_epoch() {
  source_.start(epoch_, batch_);
  weights_ = loss_weights(options_.kind, caps_, epoch_, options_.epochs);
  net_.device().upload(device_weights_.raw(), weights_.data(), device_weights_.bytes());
  positioned_ = true;
}

TrainPass Trainer::pass() const {
  return {options_.seed,
          scalars_.device_pointer(),
          options_.kind == TrainKind::kExitsOnly && options_.trunk_in_eval_mode};
}

// Forward, losses, backward and update: nothing here waits for the device.
MultiExitResult Trainer::run_program(const Batch& batch) {
  ParameterSet& parameters = net_.parameters();
  MultiExitResult result;
  {
    Recording recording(options_.kind == TrainKind::kExitsOnly ? parameters.exit_targets()
                                                               : parameters.targets());
    const std::vector<Tensor> logits = [&] {
      const Range range("train/forward");
      return net_.forward(batch.inputs, pass());
    }();
    MultiExitTargets targets;
    targets.labels = batch.labels;
    targets.exit_weight = device_weights_;
    targets.state = scalars_.device_pointer();
    result = [&] {
      const Range range("train/loss");
      return multi_exit_loss(logits, targets);
    }();
    const Range range("train/backward");
    static_cast<void>(recording.grad(result.loss));
  }
  const Range range("train/optimizer");
  optimizer_->step(scalars_);
  return result;
}

MultiExitResult Trainer::replay(const Batch& batch) {
  const Device& device = net_.device();
  auto found = captured_.find(batch.inputs.shape().n());
  if (found == captured_.end()) {
    Batch own{Tensor::empty(batch.inputs.shape(), device, batch.inputs.dtype(), "captured batch"),
              Tensor::empty(batch.labels.shape(), device, batch.labels.dtype(), "captured batch")};
    found =
        captured_.emplace(batch.inputs.shape().n(), Captured{std::move(own), {}, CapturedStep(device)}).first;
  }
  Captured& c = found->second;
  device.copy(c.batch.inputs.raw(), batch.inputs.raw(), batch.inputs.bytes());
  device.copy(c.batch.labels.raw(), batch.labels.raw(), batch.labels.bytes());
  c.step.run([&] {
    c.result = {};
    c.result = run_program(c.batch);
  });
  return c.result;
}

// Puts the step behind those that run already onto the device.
void Trainer::launch() {
  Running running{source_.next(), std::exchange(spare_, Readback(net_.device()))};
  const int n = running.batch.inputs.shape().n();
  const auto step = static_cast<int>(step_ + static_cast<std::int64_t>(running_.size()));
  // A flag that nobody has looked at yet stops this step too.
  const auto flag = running_.empty() ? NonfiniteFlag::kClear : NonfiniteFlag::kKeep;
  scalars_.set(static_cast<float>(schedule_.at_epoch(epoch_)), step, n, flag);
  const MultiExitResult result =
      mode_ == StepMode::kCaptured ? replay(running.batch) : run_program(running.batch);
  running.readback.start(
      std::vector<Tensor>{result.parts, result.argmax, running.batch.labels, scalars_.memory()});
  running_.push_back(std::move(running));
}

// One step ahead, but not across what somebody may save: a checkpoint or the end of an epoch.
bool Trainer::may_look_ahead() const {
  if (mode_ == StepMode::kEager || running_.size() != 1 || batch_ + 2 >= source_.batches()) return false;
  return options_.checkpoint_every == 0 || (step_ + 1) % options_.checkpoint_every != 0;
}

StepReport Trainer::step() {
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
    scalars_.set(static_cast<float>(schedule_.at_epoch(epoch_)), static_cast<int>(step_), 0);
    explain_nonfinite(running.batch);
  }
  const auto n = static_cast<int>(labels.size());
  StepReport report{.epoch = epoch_,
                    .batch = batch_,
                    .step = step_,
                    .samples = n,
                    .loss = parts[0],
                    .exit_loss = {parts.begin() + 1, parts.end() - 1},
                    .epoch_end = {}};
  seen_ += n;
  loss_sum_ += report.loss * n;
  for (std::size_t e = 0; e < exit_loss_sum_.size(); ++e) {
    exit_loss_sum_[e] += static_cast<double>(report.exit_loss[e]) * n;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      right_[e] += predicted[e * labels.size() + i] == labels[i] ? 1 : 0;
    }
  }
  ++step_;
  if (++batch_ == source_.batches()) {
    report.epoch_end = this->report();
    batch_ = 0;
    ++epoch_;
    positioned_ = false;
    seen_ = 0;
    loss_sum_ = 0;
    exit_loss_sum_.assign(exit_loss_sum_.size(), 0);
    right_.assign(right_.size(), 0);
  }
  spare_ = std::move(running.readback);
  return report;
}

EpochReport Trainer::report() const {
  EpochReport r;
  r.epoch = epoch_;
  r.learning_rate = schedule_.at_epoch(epoch_);
  r.weights = weights_;
  r.samples = seen_;
  const auto n = static_cast<double>(seen_);
  r.loss = loss_sum_ / n;
  for (std::size_t e = 0; e < right_.size(); ++e) {
    r.exit_loss.push_back(exit_loss_sum_[e] / n);
    r.exit_accuracy.push_back(static_cast<double>(right_[e]) / n);
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
  static_cast<void>(net_.forward(batch.inputs, pass(), look));
  if (!all_finite(batch.inputs)) where = "the input";
  for (const ParameterSet::Entry& entry : net_.parameters().entries()) {
    if (entry.trainable && !all_finite(entry.value)) {
      where += (where.empty() ? "" : ", with ") + ("a non-finite parameter " + entry.info.name);
      break;
    }
  }
  throw NumericError("training: the loss is not finite at epoch " + std::to_string(epoch_) + ", batch " +
                     std::to_string(batch_) + " (step " + std::to_string(step_) +
                     "); first non-finite values behind " + (where.empty() ? "the logits" : where));
}

void Trainer::save(const std::filesystem::path& path, const Metadata& extra) {
  while (!running_.empty()) ready_ = std::make_unique<StepReport>(finish());
  Metadata metadata = to_metadata(options_);
  metadata["state.epoch"] = text::number(epoch_);
  metadata["state.batch"] = text::number(batch_);
  metadata["state.step"] = text::number(step_);
  metadata["state.seen"] = text::number(seen_);
  metadata["state.loss_sum"] = text::number(loss_sum_);
  metadata["state.exit_loss_sum"] = text::list(exit_loss_sum_);
  metadata["state.right"] = text::list(right_);
  metadata["state.samples"] = text::number(source_.samples());
  for (const auto& [key, value] : extra) metadata.insert_or_assign(key, value);
  save_checkpoint(path, net_, {}, metadata, optimizer_.get());
}

void Trainer::load(const std::filesystem::path& path) {
  running_.clear();
  ready_.reset();
  const safetensors::Reader file(path);
  const auto& metadata = file.metadata();
  const auto differs = [&](const std::string& what) {
    throw ValueError("resume: " + path.string() + " was trained with other " + what);
  };
  if (options_from_metadata(metadata) != net_.options()) differs("net options");
  TrainOptions saved = train_options_from_metadata(metadata);
  saved.checkpoint_every = options_.checkpoint_every;  // when to save does not change what is computed
  if (saved != options_) differs("training options");
  if (text::read_number<int>("state.samples", text::required(metadata, "state.samples")) !=
      source_.samples()) {
    differs("data");
  }
  load_state_dict(net_, file, Strictness::kComplete);
  load_moments(file, net_, *optimizer_);
  const auto value = [&](const char* key) -> const std::string& { return text::required(metadata, key); };
  epoch_ = text::read_number<int>("state.epoch", value("state.epoch"));
  batch_ = text::read_number<int>("state.batch", value("state.batch"));
  step_ = text::read_number<std::int64_t>("state.step", value("state.step"));
  seen_ = text::read_number<std::int64_t>("state.seen", value("state.seen"));
  loss_sum_ = text::read_number<double>("state.loss_sum", value("state.loss_sum"));
  exit_loss_sum_ = text::read_list<double>("state.exit_loss_sum", value("state.exit_loss_sum"));
  right_ = text::read_list<std::int64_t>("state.right", value("state.right"));
  const auto exits = static_cast<std::size_t>(net_.num_exits());
  if (epoch_ < 1 || batch_ < 0 || batch_ >= source_.batches() || exit_loss_sum_.size() != exits ||
      right_.size() != exits) {
    throw FileError(path.string(), "the training position in the metadata does not fit the net and the data");
  }
  positioned_ = false;
}

}  // namespace offramp::nets
