#pragma once
// Training of a substitute on what a victim answered (specs/extraction.md 3 and 6).
//
// Strategy (v1, v2): L = sum over exits of KL(v, p_i) + lambda * strategy loss with the estimated exits, so
// that the substitute learns what the victim says and also where it is sure of it. Knockoff (Orekondy et al.,
// random policy): the joint loss of an ordinary multi-exit net, soft cross entropy with the victim's answers
// at every exit, internal classifiers weighted by the ramp of training.md 2; no exits.
//
// One step at a time, as nets/training/trainer.h: a run can stop after any step and goes on with the same
// bits. Defaults: lambda, phi, weights from the papers; optimiser and schedule are not stated there
// (training.md 9 recommends those of the victim, milestones scaled to the epochs).
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/ops.h"
#include "engine/optimizer.h"
#include "engine/schedule.h"
#include "nets/data/loader.h"
#include "nets/graph/network.h"
#include "nets/graph/state_dict.h"

namespace offramp::attacks {

enum class FitMethod { kStrategy, kKnockoff };

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
};

// What the fit knows of each image. `exits` (from 1) may be empty for kKnockoff.
struct FitTargets {
  std::span<const float> probabilities;  // [n, classes]
  std::span<const std::int32_t> exits;   // [n]
};

// Means over an epoch, as seen by training.
struct FitEpoch {
  int epoch = 0;  // from 1
  double learning_rate = 0, loss = 0, strategy_loss = 0;
  std::vector<double> exit_loss;       // [num_exits]
  std::vector<double> exit_agreement;  // [num_exits] share of images where the exit says the victim's class
};

class SubstituteTrainer {
 public:
  // Net (initialised or loaded), images and targets must outlive the trainer. Throws ValueError where counts
  // disagree, an exit is outside 1..num_exits, a row of probabilities is not finite, or an option is outside
  // its domain; ShapeError where the net does not take the images.
  SubstituteTrainer(nets::Network& net,
                    const FitOptions& options,
                    const data::ImageSet& images,
                    const FitTargets& targets);
  ~SubstituteTrainer();

  bool done() const { return epoch_ > options_.epochs; }
  std::int64_t steps_done() const { return step_; }
  std::int64_t steps_total() const;
  int epoch() const { return epoch_; }
  // Share of the images that the victim's most frequent class is the answer to: the agreement of an exit that
  // has learnt nothing.
  double constant_agreement() const;
  // The epoch's means behind its last batch. Throws NumericError where the loss is not finite.
  std::optional<FitEpoch> step();

  // Net, moments, position and sums. Atomic.
  void save(const std::filesystem::path& path, const nets::Metadata& extra = {});
  // Throws FileError where the file is damaged, ValueError where it belongs to another fit.
  void load(const std::filesystem::path& path);

 private:
  nets::Metadata description() const;
  FitEpoch report() const;
  struct Sums {
    std::int64_t images = 0;
    double loss = 0, strategy = 0;
    std::vector<double> exit_loss;
    std::vector<std::int64_t> agree;
  };
  Sums no_sums() const;

  nets::Network& net_;
  FitOptions options_;
  FitTargets targets_;
  std::vector<std::int32_t> labels_;  // the victim's class of each image
  MultiStepSchedule schedule_;
  std::unique_ptr<Optimizer> optimizer_;
  StepScalars scalars_;
  std::unique_ptr<data::BatchLoader<float>> loader_;
  Shape image_;  // [1,c,h,w]
  int epoch_ = 1, batch_ = 0;
  std::int64_t step_ = 0;
  Tensor exit_weight_;
  int weight_epoch_ = 0;
  Sums sums_;
};

// exits at equal cost, as many as estimated; the backbone and everything else as in `base`.
nets::NetOptions substitute_options(nets::NetOptions base, int estimated_exits);
// Takes over every parameter and running statistic of the same name and shape from a net trained on something
// else; what does not fit (classifiers of another class count) stays as drawn. Returns their number; throws
// FileError for a damaged file, ValueError where nothing fits.
int start_from(nets::Network& net, const std::filesystem::path& checkpoint);

const char* to_text(FitMethod);

}  // namespace offramp::attacks
