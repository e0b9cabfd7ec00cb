#pragma once
// What early-exit inference needs of a net: K segments, each from the end of the one before to the next exit.
#include "engine/tensor.h"
#include "nets/graph/layers.h"

namespace offramp::nets {

struct Segment {
  Tensor features;  // what the next segment takes; empty behind the last exit
  Tensor logits;    // [n, classes] float32
};

class SegmentedNet {
 public:
  virtual ~SegmentedNet() = default;
  virtual int num_exits() const = 0;
  virtual int classes() const = 0;
  virtual const Extent& input() const = 0;
  // segment from 0. Evaluation: const and deterministic, a sample's result does not depend on its batch.
  virtual Segment forward_segment(int segment, const Tensor& x) const = 0;
};

}  // namespace offramp::nets
