#pragma once
// An objective for tests that is more than labels: KL divergence to soft answers and the hinge on exits, taken
// from tables on the device by the samples' indices.
#include <vector>

#include "nets/training/objective.h"

namespace offramp::test {

class AnswersOfATable final : public nets::Objective {
 public:
  // Answer of sample i: class i % classes with 0.7, the others share the rest; exit 1 + i % num_exits.
  AnswersOfATable(int n, int classes, int num_exits, const Device& device) : num_exits_(num_exits) {
    std::vector<float> answers;
    std::vector<std::int32_t> exits;
    for (int i = 0; i < n; ++i) {
      for (int c = 0; c < classes; ++c)
        answers.push_back(c == i % classes ? 0.7f : 0.3f / static_cast<float>(classes - 1));
      exits.push_back(1 + i % num_exits);
    }
    answers_ = Tensor::from<float>({n, classes}, answers, device);
    exits_ = Tensor::from<std::int32_t>({n}, exits, device);
  }
  std::vector<float> weights(int epoch) const override {
    return std::vector<float>(static_cast<std::size_t>(num_exits_), epoch == 1 ? 1.0f : 0.5f);
  }
  MultiExitTargets targets(const nets::Batch& batch) const override {
    const Tensor rows = Tensor::from<std::int32_t>(
        {static_cast<std::int64_t>(batch.indices.size())}, batch.indices, answers_.device());
    MultiExitTargets t;
    t.kind = TargetLoss::kKlTargetFirst;
    t.target = gather_rows(answers_, rows);
    t.lambda = 0.5f;
    t.exits = gather_rows(exits_, rows);
    return t;
  }
  nets::Metadata description() const override { return {{"table.lambda", "0.5"}}; }

 private:
  int num_exits_;
  Tensor answers_, exits_;
};

}  // namespace offramp::test
