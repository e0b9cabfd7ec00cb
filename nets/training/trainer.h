#pragma once
// Training, one step at a time, so that a run can stop after any step and continue with the same bits. What is
// learnt is an Objective's matter; without one it is the labels of the source (nets/training/joint.h).
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
#include "engine/shards.h"
#include "nets/graph/state_dict.h"
#include "nets/training/batch_source.h"
#include "nets/training/objective.h"
#include "nets/training/train_options.h"

namespace offramp::nets {

// Means over the samples of an epoch so far, as seen by training (augmented images, before each update).
struct EpochReport {
  int epoch = 0;                      // from 1
  double learning_rate = 0;           // of its last step
  std::vector<float> weights;         // of each exit's loss
  double loss = 0;                    // weighted total
  double strategy_loss = 0;           // without lambda; 0 where the objective has none
  std::vector<double> exit_loss;      // [num_exits]
  std::vector<double> exit_accuracy;  // [num_exits] share of samples where the exit says the batch's label
  std::int64_t samples = 0;
};

struct StepReport {
  int epoch = 0, batch = 0;  // epoch from 1, batch from 0
  std::int64_t step = 0;     // from 0, over the whole run
  int samples = 0;
  double loss = 0, strategy_loss = 0;
  std::vector<float> exit_loss;
  std::optional<EpochReport> epoch_end;  // after the last batch of an epoch
};

enum class StepMode { kEager, kCaptured };

// The other processes that train the same net with TrainOptions::shards, each on its part of every batch. All of them
// call the same functions of their trainers in the same order. A step in which one of them ends throws what the
// transport throws, and changes nothing: the trainer stands where it stood before and may be saved.
struct Ranks {
  Transport* host = nullptr;          // null: this process is alone
  DeviceTransport* device = nullptr;  // null: what lies on a device goes through the host
};

class Trainer {
 public:
  // The net must be initialised or loaded. Net and source must outlive the trainer. Throws ValueError where
  // options do not fit, or steps are to be captured on a device that cannot.
  Trainer(Network& net,
          const TrainOptions& options,
          BatchSource& source,
          StepMode mode = StepMode::kEager,
          const Ranks& ranks = {});
  // The same with another objective, which must outlive the trainer. Of the options `kind` says what learns: all
  // of the net, or the exits alone.
  Trainer(Network& net,
          const TrainOptions& options,
          const Objective& objective,
          BatchSource& source,
          StepMode mode = StepMode::kEager,
          const Ranks& ranks = {});

  bool done() const { return at_.epoch > options_.epochs && !ready_; }
  int epoch() const { return at_.epoch; }
  int batch() const { return at_.batch; }
  int batches() const { return source_.batches(); }
  std::int64_t steps_done() const { return at_.step; }
  std::int64_t steps_total() const;
  const TrainOptions& options() const { return options_; }
  Optimizer& optimizer() { return *optimizer_; }

  // Throws NumericError with step and layer where the loss is not finite; parameters and running statistics are then
  // those of before.
  StepReport step();

  // Everything that the next step depends on: net, moments, position, sums of the epoch. Atomic. A step under
  // way is waited for and belongs to what is saved; its report comes with the next step(). None is under way
  // after the steps that checkpoint_every counts, and at the end of an epoch.
  void save(const std::filesystem::path& path, const Metadata& extra = {});
  // Throws FileError where the file is damaged or does not fit the net, ValueError where it was trained with
  // other options (checkpoint_every may differ), another objective or other data; net and trainer are then as
  // before.
  void load(const std::filesystem::path& path);
  // All ranks go on from the net, the moments and the position of rank 0, which has initialised or loaded them.
  void share();

 private:
  // Where the run stands, and sums over the samples of its epoch so far.
  struct Position {
    int epoch = 1, batch = 0;
    std::int64_t step = 0, seen = 0;
    double loss = 0, strategy = 0;
    std::vector<double> exit_loss;    // [num_exits]
    std::vector<std::int64_t> right;  // [num_exits]
  };
  // A batch on its way through the device, and what comes back of it.
  struct Running {
    Batch batch;  // kept until the loss is known to be finite
    Readback readback;
    Tensor buffers_before;  // running statistics
  };
  // A recorded step and the memory that it reads and writes.
  struct Captured {
    Tensor inputs, places;  // one of them
    MultiExitTargets targets;
    MultiExitResult result;
    CapturedStep step;
  };
  Trainer(Network& net,
          const TrainOptions& options,
          std::unique_ptr<const Objective> own,
          const Objective* objective,
          BatchSource& source,
          StepMode mode,
          const Ranks& ranks);
  StepReport step_once();
  void check_shards() const;
  Tensor buffers_now();
  void restore(const Tensor& buffers_before);
  void reduce_gradients();
  void count_right(const Tensor& argmax, const Tensor& labels);
  std::string first_word(const std::string& word) const;
  void begin_epoch();
  void launch();
  void launch(Running& running);
  bool may_look_ahead() const;
  StepReport finish();
  MultiExitResult run_program(const Tensor& inputs, MultiExitTargets targets, const Tensor& labels);
  MultiExitResult replay(const Batch& batch, const MultiExitTargets& targets);
  TrainPass pass() const;
  double rate(std::int64_t step) const;
  [[noreturn]] void explain_nonfinite(const Batch& batch);
  EpochReport report() const;
  void clear_sums();
  Position position_in(const Metadata& metadata) const;

  Network& net_;
  TrainOptions options_;
  std::unique_ptr<const Objective> own_;  // where nobody gave one
  const Objective& objective_;
  BatchSource& source_;
  std::unique_ptr<Optimizer> optimizer_;
  StepMode mode_;
  StepScalars scalars_;
  std::map<int, Captured> captured_;   // by batch size
  std::deque<Running> running_;        // the step to be reported next, and perhaps one more
  std::unique_ptr<StepReport> ready_;  // of a step that save() has waited for
  Readback spare_;                     // of the step before: its memory serves the next one
  Tensor spare_buffers_;               // so does that of its statistics
  Position at_;
  bool positioned_ = false;  // the source stands at `at_` and weights_ are this epoch's
  std::vector<float> weights_;
  Tensor device_weights_;  // [num_exits], the same memory in every epoch
  std::optional<Shards> shards_;
  std::vector<std::int64_t> right_;  // of the step, over all ranks, with shards
};

}  // namespace offramp::nets
