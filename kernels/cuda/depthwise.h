#pragma once
// Depthwise convolution (groups == c == k): bandwidth-bound, so no product of matrices. Called by conv2d.cu.
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
template <class T>
void depthwise_backward_input(Context&, const Conv2dGeom&, const T* dy, const float* w, T* dx, Write);
template <class T>
void depthwise_backward_weight(Context&, const Conv2dGeom&, const T* x, const T* dy, float* dw, Write);

}  // namespace offramp::cuda
