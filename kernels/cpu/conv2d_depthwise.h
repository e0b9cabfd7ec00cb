#pragma once
// Depthwise 3x3 convolution in NHWC, any stride, float and bf16, all three directions: vectors of channels,
// sums in float. Each function returns false, having written nothing, for other filters. (The library's own
// kernels reach 0.4 to 150 GFLOP/s on these layers.)
#include "kernels/conv2d.h"
#include "kernels/cpu/context.h"
#include "kernels/cpu/epilogue.h"

namespace offramp::cpu::depthwise {

bool handles(const Conv2dGeom&);

// Weights [9][c] of the forward from [c][3][3].
void pack_forward_weights(const Conv2dGeom&, const float* w, float* packed);

template <class T>
void conv2d_forward(Context&, const Conv2dGeom&, const T* x, const float* packed, const Epilogue<T>&);
template <class T>
void conv2d_backward_input(Context&, const Conv2dGeom&, const T* dy, const float* w, T* dx, Write);
template <class T>
void conv2d_backward_weight(Context&, const Conv2dGeom&, const T* x, const T* dy, float* dw, Write);

}  // namespace offramp::cpu::depthwise
