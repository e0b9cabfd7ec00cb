#pragma once
// What a copy learns from a victim's recorded answers (specs/extraction.md 3 and 6).
//
// Strategy (v1, v2): L = sum over exits of KL(v, p_i) + lambda * strategy loss with the estimated exits, so that
// the copy learns what the victim says and also where it is sure of it. Knockoff (Orekondy et al., random
// policy): the joint loss of an ordinary multi-exit net, soft cross entropy with the victim's answers at every
// exit, internal classifiers weighted by the ramp of training.md 2; no exits.
//
// Defaults: lambda, phi, weights from the papers; optimiser and schedule are not stated there (training.md 9
// recommends those of the victim, milestones scaled to the epochs).
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nets/data/augment.h"
#include "nets/training/objective.h"
#include "nets/training/train_options.h"
#include "nets/training/trainer.h"

namespace offramp::attacks {

enum class FitMethod { kStrategy, kKnockoff };
const char* to_text(FitMethod);

struct FitOptions {
  FitMethod method = FitMethod::kStrategy;
  TargetLoss loss = TargetLoss::kKlTargetFirst;  // Paper: the direction is ambiguous (spec 3.1)
  double lambda = 0.5;
  StrategyParams strategy = {};
  int epochs = 100;
  int batch_size = 128;
  std::uint64_t seed = 1;
  double learning_rate = 0.1;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  std::vector<int> milestones = {35, 60, 85};  // of 100 epochs, scaled to `epochs`
  data::Augmentation augmentation = {};        // none: the victim answered the images as they are
  nets::OptimizerKind optimizer = nets::OptimizerKind::kSgd;
  int checkpoint_every = 0;                       // steps, as in TrainOptions
  nets::StepMode steps = nets::StepMode::kEager;  // same bits either way
};

// How the trainer goes about it.
nets::TrainOptions train_options(const FitOptions& options);

// What the fit knows of each image. `exits` (from 1) may be empty for kKnockoff.
struct FitTargets {
  std::span<const float> probabilities;  // [n, classes]
  std::span<const std::int32_t> exits;   // [n]
};

// Answers of n images in tables on the net's device; a batch takes its rows by Batch::indices.
class AnswersObjective : public nets::Objective {
 public:
  MultiExitTargets targets(const nets::Batch& batch) const override;
  nets::Metadata description() const override;
  // Files of the fits that were not yet the trainer's keep their position under "fit.state.*".
  nets::Metadata in_todays_keys(const nets::Metadata& saved) const override;

 protected:
  AnswersObjective(const FitOptions& options, const FitTargets& answers, const nets::Network& net);
  FitOptions options_;
  MultiExitTargets fixed_;  // kind, lambda and strategy of every batch

 private:
  Tensor probabilities_;  // [n, classes]
  Tensor exits_;          // [n]; empty where lambda is 0
  std::string digest_;
};

class StrategyObjective final : public AnswersObjective {
 public:
  StrategyObjective(const FitOptions& options, const FitTargets& answers, const nets::Network& net);
  std::vector<float> weights(int epoch) const override;  // 1 for every exit

 private:
  int num_exits_;
};

class KnockoffObjective final : public AnswersObjective {
 public:
  KnockoffObjective(const FitOptions& options, const FitTargets& answers, const nets::Network& net);
  std::vector<float> weights(int epoch) const override;

 private:
  std::vector<double> caps_;
};

// That of options.method. Throws ValueError where counts disagree, an exit is outside 1..num_exits, a row of
// probabilities is not finite, or an option is outside its domain.
std::unique_ptr<nets::Objective> make_objective(const FitOptions& options,
                                                const FitTargets& answers,
                                                const nets::Network& net);

}  // namespace offramp::attacks
