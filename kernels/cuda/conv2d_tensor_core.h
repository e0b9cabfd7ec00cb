#pragma once
// Convolution in bf16 on tensor cores, our own: for one group, channels and filters in multiples of eight,
// 16-byte aligned tensors, sm_80 or later. Every function returns false elsewhere, and then did nothing.
#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"
#include "kernels/cuda/depthwise.h"

namespace offramp::cuda {

// Whether the context's device and the geometry are of the kind.
bool tensor_core_can(const Context& ctx, const Conv2dGeom& g);

bool tensor_core_forward(Context& ctx,
                         const Conv2dGeom& g,
                         const bf16* x,
                         const bf16* filters,  // [k, r, s, c]
                         const ConvEpilogue<bf16>& epilogue,
                         bf16* y);
// With no more than a bias; also the statistics of the batch norm that follows, into saved_mean, saved_inv_std and the running averages.
bool tensor_core_forward_moments(Context& ctx,
                                 const Conv2dGeom& g,
                                 const bf16* x,
                                 const bf16* filters,
                                 const float* bias,
                                 bf16* y,
                                 const BatchNormGeom& norm,
                                 const BatchNormTrain<bf16>& t);
bool tensor_core_backward_input(
    Context& ctx, const Conv2dGeom& g, const bf16* dy, const bf16* filters, bf16* dx, Write write);
bool tensor_core_backward_weight(
    Context& ctx, const Conv2dGeom& g, const bf16* x, const bf16* dy, float* dw, Write write);

}  // namespace offramp::cuda
