#pragma once
// Convolution through oneDNN. Each function returns false, having written nothing, where the library has no
// fast primitive for the case (or the build has no library).
#include "kernels/cpu/context.h"
#include "kernels/cpu/conv2d_packed.h"
#include "kernels/cpu/conv2d_plan.h"
#include "kernels/cpu/epilogue.h"

namespace offramp::cpu::library {

template <class T>
bool conv2d_forward(
    Context&, const Conv2dGeom&, ConvAlgorithm, const T* x, const float* w, const float* bias, T* y);
template <class T>
bool conv2d_backward_input(
    Context&, const Conv2dGeom&, ConvAlgorithm, const T* dy, const float* w, T* dx, Write);
template <class T>
bool conv2d_backward_weight(
    Context&, const Conv2dGeom&, ConvAlgorithm, const T* x, const T* dy, float* dw, Write);

// Evaluation: fills packed.packed and packed.layout from packed.w; false where the library has no forward for
// it.
template <class T>
bool pack_forward_weights(Context&, PackedConv2d& packed);
template <class T>
bool conv2d_forward_packed(Context&, const Conv2dGeom&, const PackedConv2d&, const T* x, const Epilogue<T>&);

}  // namespace offramp::cpu::library
