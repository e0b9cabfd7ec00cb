#pragma once
// Which algorithm computes a convolution: the committed rule, by geometry, direction and type alone.
#include "kernels/conv2d.h"
#include "kernels/cpu/context.h"

namespace offramp::cpu {

enum class ConvDirection { kForward, kBackwardInput, kBackwardWeight };

// kDirect, kDirectWhole: the library's direct convolution, in one-thread shards of the batch or over the
// whole batch. kWinograd: the library's F(4, 3), f32, with activations reordered on both sides. kNative:
// conv2d_native.h. kDepthwise: conv2d_depthwise.h.
enum class ConvAlgorithm { kDirect, kDirectWhole, kWinograd, kNative, kDepthwise };

ConvAlgorithm default_algorithm(const Conv2dGeom& g, ConvDirection direction, bool bf16);
// The same, or what is ours where the context does without the library.
ConvAlgorithm algorithm_for(const Context& ctx, const Conv2dGeom& g, ConvDirection direction, bool bf16);

// One algorithm by name: false, with nothing written, where it cannot do the case. What conv2d.h's functions
// call, and what tests and benchmarks compare. The batch is not empty.
template <class T>
bool conv2d_forward_by(
    ConvAlgorithm, Context&, const Conv2dGeom&, const T* x, const float* w, const float* bias, T* y);
template <class T>
bool conv2d_backward_input_by(
    ConvAlgorithm, Context&, const Conv2dGeom&, const T* dy, const float* w, T* dx, Write);
template <class T>
bool conv2d_backward_weight_by(
    ConvAlgorithm, Context&, const Conv2dGeom&, const T* x, const T* dy, float* dw, Write);

}  // namespace offramp::cpu
