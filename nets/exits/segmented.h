#pragma once
// What early-exit inference needs of a net: K segments, each from the end of the one before to the next exit.
#include <vector>

#include "engine/tensor.h"
#include "nets/graph/layers.h"

namespace offramp::nets {

// What lies between two segments: the maps of a block. For segment 0 the inputs of the net.
using Features = std::vector<Tensor>;

struct Segment {
  Features features;  // what the next segment takes; none behind the last exit
  Tensor logits;      // [n, classes] float32
};

class SegmentedNet {
 public:
  virtual ~SegmentedNet() = default;
  virtual int num_exits() const = 0;
  virtual int classes() const = 0;
  virtual const std::vector<Extent>& inputs() const = 0;
  const Extent& input() const { return inputs().front(); }
  // segment from 0. Evaluation: const and deterministic, a sample's result does not depend on its batch.
  virtual Segment forward_segment(int segment, const Features& x) const = 0;
  // Samples that a CPU does best to take through the net together (parts.h).
  virtual int rows_together() const { return 64; }
};

}  // namespace offramp::nets
