#pragma once
// Depthwise convolution (groups == c == k): bandwidth-bound, so no product of matrices. Called by conv2d.cu.
#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"

namespace offramp::cuda {

// What a forward adds to its sums before it rounds them: y = act(sum + bias + residual), act = ReLU or
// nothing.
template <class T>
struct ConvEpilogue {
  const float* bias = nullptr;  // [k]
  const T* residual = nullptr;  // as y
  bool relu = false;
};

template <class T>
void depthwise_forward(Context&, const Conv2dGeom&, const T* x, const float* w, const ConvEpilogue<T>&, T* y);
// The forward, with no more than a bias, and the statistics of the batch norm that follows, into saved_mean,
// saved_inv_std and the running averages. False, and nothing is done, where the channels are not a multiple of
// eight or a tensor is not 16-byte aligned.
bool depthwise_forward_moments(Context&,
                               const Conv2dGeom&,
                               const bf16* x,
                               const float* w,
                               const float* bias,
                               bf16* y,
                               const BatchNormGeom& norm,
                               const BatchNormTrain<bf16>& t);
template <class T>
void depthwise_backward_input(Context&, const Conv2dGeom&, const T* dy, const float* w, T* dx, Write);
template <class T>
void depthwise_backward_weight(Context&, const Conv2dGeom&, const T* x, const T* dy, float* dw, Write);

}  // namespace offramp::cuda
