#pragma once
// A net made ready for answering: batch norms folded into convolutions whose weights are packed once, ReLU
// and residual sums in the same pass, dropout gone. Outputs differ from the net's by rounding alone (the
// folded weights are rounded once more); a sample gives the same bits in every batch where the packed
// convolution does.
#include <functional>
#include <memory>
#include <vector>

#include "nets/graph/network.h"

namespace offramp::nets {

class FrozenNet final : public SegmentedNet {
 public:
  // Copies what it needs: later changes of the net do not show.
  explicit FrozenNet(const Network& net);

  int num_exits() const override { return static_cast<int>(segments_.size()); }
  int classes() const override { return classes_; }
  const Extent& input() const override { return input_; }
  Segment forward_segment(int segment, const Tensor& x) const override;
  std::vector<Tensor> forward(const Tensor& x) const;

 private:
  // One step of a segment: (input, residual or empty) -> output.
  using Step = std::function<Tensor(const Tensor& x, const Tensor& residual)>;
  struct FrozenBlock {
    std::vector<Step> steps, shortcut;
    Join join = Join::kNone;
    bool sum_in_last = false;  // the last step adds the residual itself
  };
  struct FrozenSegment {
    std::vector<FrozenBlock> blocks;
    std::vector<Step> head;  // exit or end
  };
  class Builder;
  static Tensor run(const std::vector<Step>& steps, Tensor x);
  static Tensor run(const FrozenBlock& block, const Tensor& x);

  int classes_;
  Extent input_;
  std::vector<FrozenSegment> segments_;
};

}  // namespace offramp::nets
