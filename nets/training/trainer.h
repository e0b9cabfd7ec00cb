#pragma once
// Training, one step at a time, so that a run can stop after any step and continue with the same bits.
//
//   Trainer trainer(net, options, source);        // or Trainer::load into an equal net
//   while (!trainer.done()) { StepReport r = trainer.step(); ... trainer.save(path); }
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "engine/optimizer.h"
#include "nets/batch_source.h"
#include "nets/state_dict.h"
#include "nets/training/train_options.h"

namespace offramp::nets {

// Means over the samples of an epoch so far, as seen by training (augmented images, before each update).
struct EpochReport {
  int epoch = 0;  // from 1
  double learning_rate = 0;
  std::vector<float> weights;         // of each exit's loss
  double loss = 0;                    // weighted total
  std::vector<double> exit_loss;      // [num_exits]
  std::vector<double> exit_accuracy;  // [num_exits]
  std::int64_t samples = 0;
};

struct StepReport {
  int epoch = 0, batch = 0;  // epoch from 1, batch from 0
  std::int64_t step = 0;     // from 0, over the whole run
  int samples = 0;
  double loss = 0;
  std::vector<float> exit_loss;
  std::optional<EpochReport> epoch_end;  // after the last batch of an epoch
};

class Trainer {
 public:
  // The net must be initialised or loaded. Net and source must outlive the trainer. Throws ValueError where
  // options do not fit.
  Trainer(Network& net, const TrainOptions& options, BatchSource& source);

  bool done() const { return epoch_ > options_.epochs; }
  int epoch() const { return epoch_; }
  int batch() const { return batch_; }
  int batches() const { return source_.batches(); }
  std::int64_t steps_done() const { return step_; }
  std::int64_t steps_total() const;
  const TrainOptions& options() const { return options_; }
  Optimizer& optimizer() { return *optimizer_; }

  // Throws NumericError with step and layer where the loss is not finite; the parameters are then those of
  // before.
  StepReport step();

  // Everything that the next step depends on: net, moments, position, sums of the epoch. Atomic.
  void save(const std::filesystem::path& path, const Metadata& extra = {});
  // Throws FileError where the file is damaged or does not fit the net, ValueError where it was trained with
  // other options (checkpoint_every may differ) or data.
  void load(const std::filesystem::path& path);

 private:
  void begin_epoch();
  [[noreturn]] void explain_nonfinite(const Batch& batch);
  EpochReport report() const;

  Network& net_;
  TrainOptions options_;
  BatchSource& source_;
  std::vector<double> caps_;  // m_i
  MultiStepSchedule schedule_;
  std::unique_ptr<Optimizer> optimizer_;
  StepScalars scalars_;
  int epoch_ = 1, batch_ = 0;
  std::int64_t step_ = 0;
  bool positioned_ = false;  // the source stands at (epoch_, batch_) and weights_ are this epoch's
  std::vector<float> weights_;
  Tensor device_weights_;
  // Sums over the samples of this epoch.
  std::int64_t seen_ = 0;
  double loss_sum_ = 0;
  std::vector<double> exit_loss_sum_;
  std::vector<std::int64_t> right_;
};

}  // namespace offramp::nets
