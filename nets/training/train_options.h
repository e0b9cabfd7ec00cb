#pragma once
// What a training run does (specs: training 2, 3, 6).
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/schedule.h"
#include "nets/graph/network.h"

namespace offramp::nets {

enum class TrainKind {
  kJoint,  // all exits together, internal losses weighted by a ramp (training 2); a plain net has one exit
  kExitsOnly,  // the trunk is frozen, every internal classifier with weight 1 (training 3)
};
enum class OptimizerKind { kSgd, kAdam };
enum class RateSchedule {
  kSteps,   // falls at the milestones
  kCosine,  // from step to step along half a cosine down to nothing: MSDNet's optional schedule
};

inline constexpr int kMaxShards = 1024;

struct TrainOptions {
  TrainKind kind = TrainKind::kJoint;
  int epochs = 100;
  int batch_size = 128;
  std::uint64_t seed = 1221;
  OptimizerKind optimizer = OptimizerKind::kSgd;
  double learning_rate = 0.1;
  double momentum = 0.9;
  double weight_decay = 5e-4;                  // added to the gradient of every parameter
  std::vector<int> milestones = {35, 60, 85};  // of reference_epochs; scaled to `epochs`
  int reference_epochs = 100;
  MilestoneShare milestone_share = MilestoneShare::kEpochsBefore;
  double gamma = 0.1;
  RateSchedule schedule = RateSchedule::kSteps;
  bool step_at_start = true;  // a milestone's own epoch is already slower, as in the reference code
  // m_i of the ramp; empty: the fraction of the backbone's MACs at each exit. The reference's fixed list is
  // sdn_loss_weights().
  std::vector<double> exit_weights;
  bool plain_sum = false;          // kJoint: every exit's loss counts 1, in every epoch (MSDNet)
  bool trunk_in_eval_mode = true;  // kExitsOnly; false: running averages move, as in the reference code
  // Into how many shards a batch is cut for sums over samples (engine/shards.h), so that as many processes as divide it give
  // the same bits; 0 or 1: not at all. Changes the last bits of results.
  int shards = 0;
  int checkpoint_every = 0;  // steps; 0: at the end of each epoch only

  // Rate of a step (from 0, of steps_total) in `epoch` (from 1).
  double rate(int epoch, std::int64_t step, std::int64_t steps_total) const;
  MultiStepSchedule scaled_steps() const;  // what kSteps follows
  friend bool operator==(const TrainOptions&, const TrainOptions&) = default;
};

// Reference settings for a net: the weight decay of its family; Adam 1e-3, 25 epochs and milestone 15 for
// kExitsOnly.
TrainOptions reference_options(const std::string& net, TrainKind kind);

// MSDNet's own recipe (specs: training 7), for any net: 300 epochs, batch 64, SGD 0.1 that falls to a tenth behind epochs
// 150 and 225, weight decay 1e-4, plain sum of the losses.
TrainOptions msdnet_options();

// (0.15, 0.30, ..., 0.90): element i for the i-th internal classifier wherever it stands (oracle-notes S8).
std::vector<double> sdn_loss_weights(int num_exits);

// Weights of joint training and of exits alone in epoch 1..epochs: min(m_i, 0.01 + epoch * m_i / epochs) for internal
// classifiers and 1 for the last; kExitsOnly: 1 and 0.
std::vector<float> loss_weights(TrainKind kind, const std::vector<double>& m, int epoch, int epochs);

// Throws ValueError for a setting outside its domain or weights that do not fit the net.
void check(const TrainOptions& options, const Network& net);

const char* to_text(TrainKind);
const char* to_text(OptimizerKind);
const char* to_text(RateSchedule);
TrainKind train_kind_from(const std::string& text);  // throw ValueError that lists what is known
OptimizerKind optimizer_from(const std::string& text);
RateSchedule rate_schedule_from(const std::string& text);
// As text, and back; what files of earlier builds do not name has its default.
std::map<std::string, std::string> to_metadata(const TrainOptions& options);
TrainOptions train_options_from_metadata(const std::map<std::string, std::string>& metadata);

}  // namespace offramp::nets
