#pragma once
// Learning from labels: cross entropy at every exit, all together or internal classifiers alone (specs: training
// 2 and 3). A net with one exit is the ordinary classifier.
#include "nets/training/objective.h"
#include "nets/training/train_options.h"

namespace offramp::nets {

class JointObjective final : public Objective {
 public:
  // Takes kind, epochs and exit_weights of the options.
  JointObjective(const TrainOptions& options, const Network& net);
  std::vector<float> weights(int epoch) const override;
  MultiExitTargets targets(const Batch& batch) const override;

 private:
  TrainKind kind_;
  int epochs_;
  std::vector<double> caps_;  // m_i
  bool plain_sum_;
};

}  // namespace offramp::nets
