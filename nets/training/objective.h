#pragma once
// What a net learns: the one part in which training on labels, on a victim's answers or on anything else differ.
// The trainer does the rest (nets/training/trainer.h). Here: joint.h; others: attacks/extraction/objective.h.
#include <vector>

#include "engine/ops.h"
#include "nets/graph/state_dict.h"
#include "nets/training/batch_source.h"

namespace offramp::nets {

class Objective {
 public:
  virtual ~Objective() = default;

  // Weight of each exit's loss in `epoch` (from 1): [num_exits].
  virtual std::vector<float> weights(int epoch) const = 0;

  // What the outputs for a batch are compared with, on the batch's device, without exit_weight and state, which
  // are the trainer's. Asked once a step, before it, so uploads and allocations are allowed; a captured step
  // reads copies at fixed addresses. Only the tensors' values and first sizes may differ from batch to batch.
  virtual MultiExitTargets targets(const Batch& batch) const = 0;

  // What a checkpoint must share with the run that goes on from it, besides TrainOptions.
  virtual Metadata description() const { return {}; }
  // The metadata of a checkpoint in today's keys, for objectives that earlier builds kept under others.
  virtual Metadata in_todays_keys(const Metadata& saved) const { return saved; }
};

}  // namespace offramp::nets
