#pragma once
// Where batches come from: what training and evaluation need of a data set.
#include <cstdint>
#include <vector>

#include "engine/tensor.h"

namespace offramp::nets {

struct Batch {
  Tensor inputs;                      // pixels [n,c,h,w] in [0,1], or features [n,features]; float32
  Tensor labels;                      // [n] int32
  std::vector<std::int32_t> indices;  // [n] which samples these are, counted in the whole set; on the host
  // Samples of the batch that these are a part of (engine/shards.h); 0: these are all.
  int whole = 0;
};

// A sequence of batches per epoch that depends on the epoch's number alone, so that a run can continue
// anywhere.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual int samples() const = 0;  // of an epoch, those of other processes included
  virtual int batches() const = 0;  // of an epoch, the last partial one included
  // The next batch will be `first_batch` (from 0) of `epoch` (from 1).
  virtual void start(int epoch, int first_batch) = 0;
  virtual Batch next() = 0;
};

}  // namespace offramp::nets
