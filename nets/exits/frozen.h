#pragma once
// A net made ready for answering: batch norms folded into convolutions whose weights are packed once, ReLU
// and residual sums in the same pass, dropout gone. Outputs differ from the net's by rounding alone (the
// folded weights are rounded once more); a sample gives the same bits in every batch where the packed
// convolution does. Frozen for gradients, an outer Recording gets those of the input, through weights packed once too.
#include <memory>
#include <vector>

#include "nets/exits/frozen_conv.h"
#include "nets/graph/network.h"

namespace offramp::nets {

class FrozenNet final : public SegmentedNet {
 public:
  // Copies what it needs: later changes of the net do not show.
  explicit FrozenNet(const Network& net, FrozenFor use = FrozenFor::kAnswers);

  int num_exits() const override { return static_cast<int>(segments_.size()); }
  int classes() const override { return classes_; }
  const std::vector<Extent>& inputs() const override { return inputs_; }
  Segment forward_segment(int segment, const Features& x) const override;
  // The same, and what the last layer of that exit was given (before the softmax), of the net's type.
  Segment forward_segment(int segment, const Features& x, Tensor& last_input) const;
  int rows_together() const override { return rows_together_; }
  std::vector<Tensor> forward(const Tensor& x) const;
  std::vector<Tensor> forward(Features x) const;

 private:
  using Step = FrozenStep;
  struct FrozenPath {
    int from = 0;
    std::vector<Step> steps;
  };
  struct FrozenMap {
    std::vector<FrozenPath> paths;
    Join join = Join::kFirst;
    bool sum_in_last = false;  // the last step of paths[0] adds the residual (and does the ReLU) itself
  };
  struct FrozenSegment {
    std::vector<Step> first;  // normalisation and stem, on input 0
    std::vector<std::vector<FrozenMap>> blocks;
    FrozenPath head;  // exit or end
  };
  class Builder;
  static Tensor run(const FrozenPath& path,
                    const Features& x,
                    const Tensor& residual = {},
                    Tensor* last_input = nullptr);
  static Tensor run(const FrozenMap& map, const Features& x);

  int classes_, rows_together_;
  FrozenFor use_;
  std::vector<Extent> inputs_;
  std::vector<FrozenSegment> segments_;
};

}  // namespace offramp::nets
