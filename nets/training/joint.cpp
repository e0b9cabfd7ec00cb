#include "nets/training/joint.h"

namespace offramp::nets {

JointObjective::JointObjective(const TrainOptions& options, const Network& net)
    : kind_(options.kind),
      epochs_(options.epochs),
      caps_(options.exit_weights),
      plain_sum_(options.plain_sum) {
  if (caps_.empty()) {
    const std::vector<double>& fractions = net.costs().exit_fraction_macs;
    caps_.assign(fractions.begin(), fractions.end() - 1);
  }
}

std::vector<float> JointObjective::weights(int epoch) const {
  if (plain_sum_ && kind_ == TrainKind::kJoint) return std::vector<float>(caps_.size() + 1, 1.0f);
  return loss_weights(kind_, caps_, epoch, epochs_);
}

MultiExitTargets JointObjective::targets(const Batch& batch) const {
  MultiExitTargets targets;
  targets.labels = batch.labels;
  return targets;
}

}  // namespace offramp::nets
