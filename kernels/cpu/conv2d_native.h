#pragma once
// Our own convolution on gemm.h, all directions, any groups: what runs where the build has no oneDNN, and
// what the library is tested against. bf16 activations are widened to float first; sums are float.
#include "kernels/conv2d.h"
#include "kernels/cpu/context.h"
#include "kernels/cpu/epilogue.h"

namespace offramp::cpu::native {

// Floats of the packed weights of a forward, and the packing.
std::int64_t forward_weight_size(const Conv2dGeom&);
void pack_forward_weights(Context&, const Conv2dGeom&, const float* w, float* packed);

template <class T>
void conv2d_forward(Context&, const Conv2dGeom&, const T* x, const float* packed, const Epilogue<T>&);
template <class T>
void conv2d_backward_input(Context&, const Conv2dGeom&, const T* dy, const float* w, T* dx, Write);
template <class T>
void conv2d_backward_weight(Context&, const Conv2dGeom&, const T* x, const T* dy, float* dw, Write);

}  // namespace offramp::cpu::native
