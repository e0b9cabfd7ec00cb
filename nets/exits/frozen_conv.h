#pragma once
// A convolution with constant weights, the batch norm behind it folded in, as one step of a frozen net: y = act(conv(x) + b +
// residual), weights packed once. Where it is asked for, its gradient with respect to x and the residual too.
#include <functional>

#include "kernels/conv2d.h"
#include "nets/exits/folded_conv.h"

namespace offramp::nets {

enum class FrozenFor {
  kAnswers,    // no gradients
  kGradients,  // of the input; the adjoint's weights are packed too
};

// (input, residual or empty) -> output.
using FrozenStep = std::function<Tensor(const Tensor& x, const Tensor& residual)>;

// x is of T (float, bf16) and of g's size, in any batch. Gradients are recorded as by any op. Those of a 3x3 convolution with so
// many weights that the cache does not hold them are not packed: a batch does better with the algorithm that trains.
template <class T>
FrozenStep frozen_conv(
    const Device& device, const Conv2dGeom& g, const FoldedConv& folded, bool relu, FrozenFor use);

}  // namespace offramp::nets
