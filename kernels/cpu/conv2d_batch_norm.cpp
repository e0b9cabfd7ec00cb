// Convolution and batch norm one after the other: on a processor the output is in the cache where it is small, and
// the statistics are a pass at the speed of memory where it is not.
#include "kernels/conv2d_batch_norm.h"

namespace offramp::cpu {

template <class T>
void conv2d_batch_norm_train(Context& ctx,
                             const Conv2dGeom& g,
                             const T* x,
                             const float* w,
                             const float* bias,
                             T* out,
                             const BatchNormGeom& norm,
                             const BatchNormTrain<T>& t) {
  conv2d_forward(ctx, g, x, w, bias, out);
  batch_norm_train(ctx, norm, t);
}

template void conv2d_batch_norm_train(Context&,
                                      const Conv2dGeom&,
                                      const float*,
                                      const float*,
                                      const float*,
                                      float*,
                                      const BatchNormGeom&,
                                      const BatchNormTrain<float>&);
template void conv2d_batch_norm_train(Context&,
                                      const Conv2dGeom&,
                                      const bf16*,
                                      const float*,
                                      const float*,
                                      bf16*,
                                      const BatchNormGeom&,
                                      const BatchNormTrain<bf16>&);

}  // namespace offramp::cpu
