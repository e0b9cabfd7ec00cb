#pragma once
// Which algorithm computes a convolution: the committed rule, by geometry, direction and type alone.
#include "kernels/conv2d.h"

namespace offramp::cpu {

enum class ConvDirection { kForward, kBackwardInput, kBackwardWeight };

// kDirect, kDirectWhole: the library's direct convolution, in one-thread shards of the batch or over the
// whole batch. kWinograd: the library's F(4, 3), f32, with activations reordered on both sides. kNative:
// conv2d_native.h. kDepthwise: conv2d_depthwise.h.
enum class ConvAlgorithm { kDirect, kDirectWhole, kWinograd, kNative, kDepthwise };

ConvAlgorithm default_algorithm(const Conv2dGeom& g, ConvDirection direction, bool bf16);

}  // namespace offramp::cpu
