#include "kernels/conv2d.h"

#include "kernels/cpu/conv2d_native.h"
#include "kernels/cpu/gemm.h"

namespace offramp::cpu {

template <class T>
void conv2d_forward(Context& ctx, const Conv2dGeom& g, const T* x, const float* w, const float* bias, T* y) {
  native::conv2d_forward(ctx, g, x, w, bias, y);
}

template <class T>
void conv2d_backward_input(
    Context& ctx, const Conv2dGeom& g, const T* dy, const float* w, T* dx, Write write) {
  native::conv2d_backward_input(ctx, g, dy, w, dx, write);
}

template <class T>
void conv2d_backward_weight(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  native::conv2d_backward_weight(ctx, g, x, dy, dw, write);
}

template <class T>
void conv2d_backward_bias(Context& ctx, const Conv2dGeom& g, const T* dy, float* db, Write write) {
  column_sums(ctx, std::int64_t{g.n} * g.out_h() * g.out_w(), g.k, dy, db, write);
}

template void conv2d_forward(Context&, const Conv2dGeom&, const float*, const float*, const float*, float*);
template void conv2d_forward(Context&, const Conv2dGeom&, const bf16*, const float*, const float*, bf16*);
template void conv2d_backward_input(Context&, const Conv2dGeom&, const float*, const float*, float*, Write);
template void conv2d_backward_input(Context&, const Conv2dGeom&, const bf16*, const float*, bf16*, Write);
template void conv2d_backward_weight(Context&, const Conv2dGeom&, const float*, const float*, float*, Write);
template void conv2d_backward_weight(Context&, const Conv2dGeom&, const bf16*, const bf16*, float*, Write);
template void conv2d_backward_bias(Context&, const Conv2dGeom&, const float*, float*, Write);
template void conv2d_backward_bias(Context&, const Conv2dGeom&, const bf16*, float*, Write);

}  // namespace offramp::cpu
