#pragma once
// A convolution with the batch norm behind it as one: w'[k] = w[k] * s, b'[k] = (b[k] - mean) * s + beta with
// s = gamma / sqrt(var + eps), in double, rounded once.
#include <vector>

#include "nets/graph/layers.h"

namespace offramp::nets {

struct FoldedConv {
  std::vector<float> weight;  // in the order of memory, K,R,S,C
  std::vector<float> bias;    // [k]
};

// `norm` may be null: then the convolution as it is, with a bias of zeros where it has none.
FoldedConv fold(const Conv2d& conv, const BatchNorm* norm);

}  // namespace offramp::nets
