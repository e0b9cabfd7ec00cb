#include "nets/training/train_options.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"
#include "nets/families/families.h"
#include "nets/graph/metadata_text.h"

namespace offramp::nets {
namespace {

constexpr text::Names<TrainKind, 2> kKinds{
    {{TrainKind::kJoint, "joint"}, {TrainKind::kExitsOnly, "exits-only"}}};
constexpr text::Names<OptimizerKind, 2> kOptimizers{
    {{OptimizerKind::kSgd, "sgd"}, {OptimizerKind::kAdam, "adam"}}};
constexpr text::Names<RateSchedule, 2> kSchedules{
    {{RateSchedule::kSteps, "steps"}, {RateSchedule::kCosine, "cosine"}}};
constexpr text::Names<MilestoneShare, 2> kShares{
    {{MilestoneShare::kEpochsBefore, "epochs-before"}, {MilestoneShare::kNumber, "number"}}};

}  // namespace

MultiStepSchedule TrainOptions::scaled_steps() const {
  const MultiStepSchedule reference{learning_rate, milestones, gamma, step_at_start};
  return reference.scaled(epochs, reference_epochs, milestone_share);
}

double TrainOptions::rate(int epoch, std::int64_t step, std::int64_t steps_total) const {
  if (schedule == RateSchedule::kCosine) return CosineSchedule{learning_rate}.at_iteration(step, steps_total);
  return scaled_steps().at_epoch(epoch);
}

TrainOptions reference_options(const std::string& net, TrainKind kind) {
  TrainOptions o;
  o.kind = kind;
  const Family* family = family_of(net);
  o.weight_decay = family ? family->weight_decay : 1e-4;
  if (kind == TrainKind::kExitsOnly) {
    o.epochs = o.reference_epochs = 25;
    o.optimizer = OptimizerKind::kAdam;
    o.learning_rate = 1e-3;
    o.milestones = {15};
  }
  return o;
}

TrainOptions msdnet_options() {
  TrainOptions o;
  o.epochs = o.reference_epochs = 300;
  o.batch_size = 64;
  o.weight_decay = 1e-4;
  o.milestones = {150, 225};
  o.step_at_start = false;
  o.plain_sum = true;
  return o;
}

std::vector<double> sdn_loss_weights(int num_exits) {
  constexpr int kListed = 6;
  if (num_exits - 1 > kListed) {
    throw ValueError("loss weights: the reference list has " + std::to_string(kListed) +
                     " internal classifiers, the net " + std::to_string(num_exits - 1));
  }
  std::vector<double> m;
  for (int i = 1; i < num_exits; ++i) m.push_back(0.15 * i);
  return m;
}

std::vector<float> loss_weights(TrainKind kind, const std::vector<double>& m, int epoch, int epochs) {
  std::vector<float> weights;
  for (const double cap : m) {
    const double ramp = std::min(cap, 0.01 + epoch * cap / epochs);
    weights.push_back(kind == TrainKind::kExitsOnly ? 1.f : static_cast<float>(ramp));
  }
  weights.push_back(kind == TrainKind::kExitsOnly ? 0.f : 1.f);
  return weights;
}

void check(const TrainOptions& o, const Network& net) {
  const auto fail = [](const std::string& what, const std::string& expected, double got) {
    throw ValueError("training: " + what + " must be " + expected + ", got " + text::number(got));
  };
  if (o.epochs < 1) fail("epochs", "at least 1", o.epochs);
  if (o.reference_epochs < 1) fail("reference epochs", "at least 1", o.reference_epochs);
  if (o.batch_size < 1) fail("the batch size", "at least 1", o.batch_size);
  if (!(o.learning_rate > 0) || !std::isfinite(o.learning_rate))
    fail("the learning rate", "above 0", o.learning_rate);
  if (!(o.momentum >= 0 && o.momentum < 1)) fail("momentum", "in [0, 1)", o.momentum);
  if (!(o.weight_decay >= 0) || !std::isfinite(o.weight_decay))
    fail("weight decay", "at least 0", o.weight_decay);
  if (o.shards < 0 || o.shards > kMaxShards) fail("shards", "0 to " + std::to_string(kMaxShards), o.shards);
  if (o.checkpoint_every < 0) fail("steps between checkpoints", "at least 0", o.checkpoint_every);
  if (!o.exit_weights.empty() && static_cast<int>(o.exit_weights.size()) != net.num_exits() - 1) {
    throw ValueError("training: expected a loss weight for each of " + std::to_string(net.num_exits() - 1) +
                     " internal classifiers, got " + std::to_string(o.exit_weights.size()));
  }
  if (o.kind == TrainKind::kExitsOnly && net.num_exits() == 1) {
    throw ValueError("training: exits-only wants a net with internal classifiers, " + net.options().name +
                     " has one exit");
  }
}

const char* to_text(TrainKind value) { return text::of(kKinds, value); }
const char* to_text(OptimizerKind value) { return text::of(kOptimizers, value); }
const char* to_text(RateSchedule value) { return text::of(kSchedules, value); }
TrainKind train_kind_from(const std::string& name) { return text::value_of(kKinds, "training", name); }
OptimizerKind optimizer_from(const std::string& name) {
  return text::value_of(kOptimizers, "optimizer", name);
}
RateSchedule rate_schedule_from(const std::string& name) {
  return text::value_of(kSchedules, "schedule", name);
}

std::map<std::string, std::string> to_metadata(const TrainOptions& o) {
  return {{"train.kind", to_text(o.kind)},
          {"train.epochs", text::number(o.epochs)},
          {"train.batch_size", text::number(o.batch_size)},
          {"train.seed", text::number(o.seed)},
          {"train.optimizer", to_text(o.optimizer)},
          {"train.learning_rate", text::number(o.learning_rate)},
          {"train.momentum", text::number(o.momentum)},
          {"train.weight_decay", text::number(o.weight_decay)},
          {"train.milestones", text::list(o.milestones)},
          {"train.reference_epochs", text::number(o.reference_epochs)},
          {"train.milestone_share", text::of(kShares, o.milestone_share)},
          {"train.gamma", text::number(o.gamma)},
          {"train.schedule", to_text(o.schedule)},
          {"train.step_at_start", text::number(o.step_at_start ? 1 : 0)},
          {"train.exit_weights", text::list(o.exit_weights)},
          {"train.plain_sum", text::number(o.plain_sum ? 1 : 0)},
          {"train.trunk_in_eval_mode", text::number(o.trunk_in_eval_mode ? 1 : 0)},
          {"train.checkpoint_every", text::number(o.checkpoint_every)}};
}

TrainOptions train_options_from_metadata(const std::map<std::string, std::string>& metadata) {
  const auto value = [&](const std::string& key) -> const std::string& {
    return text::required(metadata, key);
  };
  const auto integer = [&](const std::string& key) { return text::read_number<int>(key, value(key)); };
  const auto real = [&](const std::string& key) { return text::read_number<double>(key, value(key)); };
  TrainOptions o;
  o.kind = train_kind_from(value("train.kind"));
  o.epochs = integer("train.epochs");
  o.batch_size = integer("train.batch_size");
  o.seed = text::read_number<std::uint64_t>("train.seed", value("train.seed"));
  o.optimizer = optimizer_from(value("train.optimizer"));
  o.learning_rate = real("train.learning_rate");
  o.momentum = real("train.momentum");
  o.weight_decay = real("train.weight_decay");
  o.milestones = text::read_list<int>("train.milestones", value("train.milestones"));
  o.reference_epochs = integer("train.reference_epochs");
  if (metadata.contains("train.milestone_share"))
    o.milestone_share = text::value_of(kShares, "milestone share", value("train.milestone_share"));
  o.gamma = real("train.gamma");
  if (metadata.contains("train.schedule")) o.schedule = rate_schedule_from(value("train.schedule"));
  o.step_at_start = integer("train.step_at_start") != 0;
  o.exit_weights = text::read_list<double>("train.exit_weights", value("train.exit_weights"));
  if (metadata.contains("train.plain_sum")) o.plain_sum = integer("train.plain_sum") != 0;
  o.trunk_in_eval_mode = integer("train.trunk_in_eval_mode") != 0;
  if (metadata.contains("train.shards")) o.shards = integer("train.shards");
  o.checkpoint_every = integer("train.checkpoint_every");
  return o;
}

}  // namespace offramp::nets
