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
  // Where `inputs` is empty (BatchSource::next_to_make): [n + 1] int32, what make() makes them of.
  Tensor places = {};
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

  // For whoever records steps. As next(), but where the samples lie on the device the inputs are left empty and are made
  // of `places` by launches alone, in a captured step too.
  virtual Batch next_to_make() { return next(); }
  virtual Tensor make(const Tensor& places) const { return places; }
};

}  // namespace offramp::nets
