#pragma once
// Training, one step at a time, so that a run can stop after any step and continue with the same bits.
//
//   Trainer trainer(net, options, source);        // or Trainer::load into an equal net
//   while (!trainer.done()) { StepReport r = trainer.step(); ... trainer.save(path); }
//
// With StepMode::kCaptured, on a CUDA device, a step is one graph launch (engine/captured_step.h), one graph
// for each batch size, and the step after the one that is reported is under way already: the host learns one
// step late that a loss was not finite, when neither that step nor the next has changed a parameter. Same
// bits as eager steps.
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "engine/captured_step.h"
#include "engine/optimizer.h"
#include "engine/readback.h"
#include "nets/graph/state_dict.h"
#include "nets/training/batch_source.h"
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

enum class StepMode { kEager, kCaptured };

class Trainer {
 public:
  // The net must be initialised or loaded. Net and source must outlive the trainer. Throws ValueError where
  // options do not fit, or steps are to be captured on a device that cannot.
  Trainer(Network& net, const TrainOptions& options, BatchSource& source, StepMode mode = StepMode::kEager);

  bool done() const { return epoch_ > options_.epochs && !ready_; }
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

  // Everything that the next step depends on: net, moments, position, sums of the epoch. Atomic. A step under
  // way is waited for and belongs to what is saved; its report comes with the next step(). None is under way
  // after the steps that checkpoint_every counts, and at the end of an epoch.
  void save(const std::filesystem::path& path, const Metadata& extra = {});
  // Throws FileError where the file is damaged or does not fit the net, ValueError where it was trained with
  // other options (checkpoint_every may differ) or data.
  void load(const std::filesystem::path& path);

 private:
  // A batch on its way through the device, and what comes back of it.
  struct Running {
    Batch batch;  // kept until the loss is known to be finite
    Readback readback;
  };
  // A recorded step and the memory that it reads and writes.
  struct Captured {
    Batch batch;
    MultiExitResult result;
    CapturedStep step;
  };
  void begin_epoch();
  void launch();
  bool may_look_ahead() const;
  StepReport finish();
  MultiExitResult run_program(const Batch& batch);
  MultiExitResult replay(const Batch& batch);
  TrainPass pass() const;
  [[noreturn]] void explain_nonfinite(const Batch& batch);
  EpochReport report() const;

  Network& net_;
  TrainOptions options_;
  BatchSource& source_;
  std::vector<double> caps_;  // m_i
  MultiStepSchedule schedule_;
  std::unique_ptr<Optimizer> optimizer_;
  StepMode mode_;
  StepScalars scalars_;
  std::map<int, Captured> captured_;   // by batch size
  std::deque<Running> running_;        // the step to be reported next, and perhaps one more
  std::unique_ptr<StepReport> ready_;  // of a step that save() has waited for
  Readback spare_;                     // of the step before: its memory serves the next one
  int epoch_ = 1, batch_ = 0;
  std::int64_t step_ = 0;
  bool positioned_ = false;  // the source stands at (epoch_, batch_) and weights_ are this epoch's
  std::vector<float> weights_;
  Tensor device_weights_;  // [num_exits], the same memory in every epoch
  // Sums over the samples of this epoch.
  std::int64_t seen_ = 0;
  double loss_sum_ = 0;
  std::vector<double> exit_loss_sum_;
  std::vector<std::int64_t> right_;
};

}  // namespace offramp::nets
