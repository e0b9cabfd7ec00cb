#pragma once
// A convolution and the batch norm behind it, in training: what conv2d_forward and batch_norm_train
// do, one after the other. A back end may take the statistics while it makes the convolution's output; they are
// the same sums, of the output as it is stored, in another order.
#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"

// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
template <class T> void conv2d_batch_norm_train(Context&, const Conv2dGeom&,
    const T* x,         // [n, h, w, c]
    const float* w,     // [k, r, s, c / groups]
    const float* bias,  // [k] or null
    T* out,             // [n, out_h, out_w, k]: of the convolution; t.x is the same
    const BatchNormGeom&,  // rows: n * out_h * out_w, channels: k
    const BatchNormTrain<T>& t);
)
// clang-format on
