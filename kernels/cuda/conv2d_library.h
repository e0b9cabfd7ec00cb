#pragma once
// Convolutions by the libraries that the context has: cuBLASLt where the convolution is a product as it lies
// (1x1, stride 1), cuDNN for the others. Every function queues the whole result and returns true, or does
// nothing and returns false: then our own kernels compute it. Depthwise layers never come here. `filters` are
// w rounded to T.
#include "kernels/conv2d.h"

namespace offramp::cuda {

template <class T>
struct ConvEpilogue;  // kernels/cuda/depthwise.h

// kWithoutEpilogue: y holds the bare sums, the caller does the rest.
enum class LibraryForward { kNo, kWhole, kWithoutEpilogue };
template <class T>
LibraryForward library_forward(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* filters, const ConvEpilogue<T>& epilogue, T* y);
template <class T>
bool library_backward_input(
    Context& ctx, const Conv2dGeom& g, const T* dy, const T* filters, T* dx, Write write);
template <class T>
bool library_backward_weight(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write);

}  // namespace offramp::cuda
