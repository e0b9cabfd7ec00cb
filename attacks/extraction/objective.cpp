#include "attacks/extraction/objective.h"

#include <cmath>

#include "base/errors.h"
#include "base/hash.h"
#include "nets/graph/metadata_text.h"

namespace offramp::attacks {
namespace {

namespace text = nets::text;

bool wants_exits(const FitOptions& o) { return o.method == FitMethod::kStrategy && o.lambda > 0; }

void check(const FitOptions& o, const FitTargets& answers, const nets::Network& net) {
  const auto fail = [](const std::string& what) { throw ValueError("fit: " + what); };
  const auto classes = static_cast<std::size_t>(net.classes());
  const std::size_t n = answers.probabilities.size() / classes;
  if (!(o.lambda >= 0) || !std::isfinite(o.lambda))
    fail("lambda must be finite and not negative, got " + text::number(o.lambda));
  if (!(o.strategy.phi1 >= 0 && o.strategy.phi1 <= 1 && o.strategy.phi2 >= 0 && o.strategy.phi2 <= 1))
    fail("phi1 and phi2 must lie in [0,1]");
  if (o.loss == TargetLoss::kCrossEntropy) fail("the loss must compare with probabilities, not labels");
  if (n == 0 || answers.probabilities.size() != n * classes)
    fail("expected rows of " + std::to_string(classes) + " probabilities, got " +
         std::to_string(answers.probabilities.size()) + " numbers");
  for (const float p : answers.probabilities)
    if (!std::isfinite(p)) fail("a probability is not finite");
  if ((wants_exits(o) || !answers.exits.empty()) && answers.exits.size() != n)
    fail("expected an exit for each of " + std::to_string(n) + " images, got " +
         std::to_string(answers.exits.size()));
  if (!wants_exits(o)) return;
  for (const auto e : answers.exits)
    if (e < 1 || e > net.num_exits())
      fail("exits must be in 1.." + std::to_string(net.num_exits()) + ", got " + std::to_string(e));
}

// A checkpoint belongs to one set of answers.
std::string digest(const FitTargets& answers) {
  return text::number(Fnv1a().add(answers.probabilities).add(answers.exits).value());
}

}  // namespace

const char* to_text(FitMethod method) { return method == FitMethod::kStrategy ? "strategy" : "knockoff"; }

nets::TrainOptions train_options(const FitOptions& options) {
  nets::TrainOptions o;
  o.epochs = options.epochs;
  o.batch_size = options.batch_size;
  o.seed = options.seed;
  o.optimizer = options.optimizer;
  o.learning_rate = options.learning_rate;
  o.momentum = options.momentum;
  o.weight_decay = options.weight_decay;
  o.milestones = options.milestones;
  o.reference_epochs = 100;
  o.milestone_share = MilestoneShare::kNumber;
  o.checkpoint_every = options.checkpoint_every;
  return o;
}

AnswersObjective::AnswersObjective(const FitOptions& options,
                                   const FitTargets& answers,
                                   const nets::Network& net)
    : options_(options), digest_(digest(answers)) {
  check(options, answers, net);
  const auto n = static_cast<std::int64_t>(answers.probabilities.size()) / net.classes();
  probabilities_ = Tensor::from<float>({n, net.classes()}, answers.probabilities, net.device());
  if (wants_exits(options)) exits_ = Tensor::from<std::int32_t>({n}, answers.exits, net.device());
}

MultiExitTargets AnswersObjective::targets(const nets::Batch& batch) const {
  MultiExitTargets targets = fixed_;
  const Tensor rows = Tensor::from<std::int32_t>(
      {static_cast<std::int64_t>(batch.indices.size())}, batch.indices, probabilities_.device());
  targets.target = gather_rows(probabilities_, rows);
  if (exits_) targets.exits = gather_rows(exits_, rows);
  return targets;
}

nets::Metadata AnswersObjective::description() const {
  const auto& o = options_;
  return {{"fit.method", to_text(o.method)},
          {"fit.loss", text::number(static_cast<int>(o.loss))},
          {"fit.lambda", text::number(o.lambda)},
          {"fit.phi", text::list(std::vector<float>{o.strategy.phi1, o.strategy.phi2})},
          {"fit.last_exit_term", text::number(o.strategy.last_exit_term ? 1 : 0)},
          {"fit.hinge_mean", text::number(static_cast<int>(o.strategy.mean))},
          {"fit.augmentation",
           text::list(
               std::vector<int>{o.augmentation.flip, o.augmentation.crop_pad, o.augmentation.colour_jitter})},
          {"fit.targets", digest_}};
}

nets::Metadata AnswersObjective::in_todays_keys(const nets::Metadata& saved) const {
  if (!saved.contains("fit.state.epoch")) return saved;
  const auto value = [&](const std::string& key) -> const std::string& { return text::required(saved, key); };
  FitOptions o;
  o.epochs = text::read_number<int>("fit.epochs", value("fit.epochs"));
  o.batch_size = text::read_number<int>("fit.batch_size", value("fit.batch_size"));
  o.seed = text::read_number<std::uint64_t>("fit.seed", value("fit.seed"));
  const auto sgd = text::read_list<double>("fit.sgd", value("fit.sgd"));
  const auto losses = text::read_list<double>("fit.state.loss", value("fit.state.loss"));
  if (sgd.size() != 3 || losses.size() != 2)
    throw ValueError("metadata fit.sgd and fit.state.loss: expected 3 and 2 numbers, got " +
                     std::to_string(sgd.size()) + " and " + std::to_string(losses.size()));
  o.learning_rate = sgd[0], o.momentum = sgd[1], o.weight_decay = sgd[2];
  o.milestones = text::read_list<int>("fit.milestones", value("fit.milestones"));
  nets::Metadata today = saved;
  today.merge(nets::to_metadata(train_options(o)));
  today["state.epoch"] = value("fit.state.epoch");
  today["state.batch"] = value("fit.state.batch");
  today["state.step"] = value("fit.state.step");
  today["state.seen"] = value("fit.state.images");
  today["state.loss_sum"] = text::number(losses[0]);
  today["state.strategy_sum"] = text::number(losses[1]);
  today["state.exit_loss_sum"] = value("fit.state.exit_loss");
  today["state.right"] = value("fit.state.agree");
  today["state.samples"] = value("fit.samples");
  return today;
}

StrategyObjective::StrategyObjective(const FitOptions& options,
                                     const FitTargets& answers,
                                     const nets::Network& net)
    : AnswersObjective(options, answers, net), num_exits_(net.num_exits()) {
  fixed_.kind = options.loss;
  fixed_.lambda = static_cast<float>(options.lambda);
  fixed_.strategy = options.strategy;
}

std::vector<float> StrategyObjective::weights(int) const {
  return std::vector<float>(static_cast<std::size_t>(num_exits_), 1.0f);
}

KnockoffObjective::KnockoffObjective(const FitOptions& options,
                                     const FitTargets& answers,
                                     const nets::Network& net)
    : AnswersObjective(options, answers, net) {
  fixed_.kind = TargetLoss::kSoftCrossEntropy;
  const auto& fractions = net.costs().exit_fraction_macs;
  caps_.assign(fractions.begin(), fractions.end() - 1);
}

std::vector<float> KnockoffObjective::weights(int epoch) const {
  return nets::loss_weights(nets::TrainKind::kJoint, caps_, epoch, options_.epochs);
}

std::unique_ptr<nets::Objective> make_objective(const FitOptions& options,
                                                const FitTargets& answers,
                                                const nets::Network& net) {
  if (options.method == FitMethod::kKnockoff)
    return std::make_unique<KnockoffObjective>(options, answers, net);
  return std::make_unique<StrategyObjective>(options, answers, net);
}

}  // namespace offramp::attacks
