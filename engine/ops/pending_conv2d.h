#pragma once
// A convolution that the batch norm behind it computes with it.
#include "engine/ops.h"

namespace offramp {

struct PendingConv2d {
  Conv2dGeom g;
  const Tensor& x;
  const Tensor& w;
  const Tensor& bias;  // or empty
};
// As batch_norm, of x. With `conv`, x is its output, of which nothing is computed yet; only in training.
Tensor batch_norm_behind(const PendingConv2d* conv,
                         const Tensor& x,
                         BatchNormTensors& bn,
                         const BatchNormCall& call);

}  // namespace offramp
