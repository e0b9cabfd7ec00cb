#pragma once
// Winograd F(4x4, 3x3) in NHWC, float and bf16 activations, all sums in float: a quarter of the
// multiplications of the direct form for 3x3, stride 1, one group. Like conv2d_native.h an image's result
// depends neither on the batch nor on the threads. The functions want handles(g). Lavin and Gray, Fast
// algorithms for convolutional neural networks, CVPR 2016; interpolation points 0, 1, -1, 2, -2 and infinity.
// Relative L2 error about 1e-6 where direct has 2e-7.
#include "kernels/conv2d.h"
#include "kernels/cpu/context.h"
#include "kernels/cpu/epilogue.h"

namespace offramp::cpu::winograd {

bool handles(const Conv2dGeom&);

// Transformed weights, packed once: 36 / 9 times the floats of w.
std::int64_t forward_weight_size(const Conv2dGeom&);
void pack_forward_weights(Context&, const Conv2dGeom&, const float* w, float* packed);
template <class T>
void conv2d_forward_packed(Context&, const Conv2dGeom&, const T* x, const float* packed, const Epilogue<T>&);

template <class T>
void conv2d_forward(Context&, const Conv2dGeom&, const T* x, const float* w, const Epilogue<T>&);
template <class T>
void conv2d_backward_input(Context&, const Conv2dGeom&, const T* dy, const float* w, T* dx, Write);
template <class T>
void conv2d_backward_weight(Context&, const Conv2dGeom&, const T* x, const T* dy, float* dw, Write);

}  // namespace offramp::cpu::winograd
