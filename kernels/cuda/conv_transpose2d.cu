// Transposed convolution by the kernels of the convolution that it is the adjoint of.
#include "kernels/conv_transpose2d.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/device_helpers.h"

namespace offramp::cuda {
namespace {

constexpr int kBiasThreads = 256;

template <class T>
__global__ void __launch_bounds__(kBiasThreads)
    every_pixel_kernel(std::int64_t n, int channels, const float* bias, T* y) {
  follow();
  const std::int64_t i = grid_thread();
  if (i < n) y[i] = T(bias[i % channels]);
}

}  // namespace

template <class T>
void conv_transpose2d_forward(
    Context& ctx, const ConvTranspose2dGeom& g, const T* x, const float* w, const float* bias, T* y) {
  if (bias != nullptr) {
    if (g.y_size() == 0) return;
    launch(every_pixel_kernel<T>,
           static_cast<unsigned>(ceil_div(g.y_size(), std::int64_t{kBiasThreads})),
           kBiasThreads,
           0,
           ctx.stream(),
           g.y_size(),
           g.k,
           bias,
           y);
  }
  conv2d_backward_input(ctx, g.adjoint(), x, w, y, bias != nullptr ? Write::kAccumulate : Write::kOverwrite);
}

template <class T>
void conv_transpose2d_backward_input(
    Context& ctx, const ConvTranspose2dGeom& g, const T* dy, const float* w, T* dx) {
  conv2d_forward(ctx, g.adjoint(), dy, w, nullptr, dx);
}

template <class T>
void conv_transpose2d_backward_weight(
    Context& ctx, const ConvTranspose2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  conv2d_backward_weight(ctx, g.adjoint(), dy, x, dw, write);
}

template <class T>
void conv_transpose2d_backward_bias(
    Context& ctx, const ConvTranspose2dGeom& g, const T* dy, float* db, Write write) {
  conv2d_backward_bias(ctx, g.pixels(), dy, db, write);
}

// clang-format off
#define OFFRAMP_INSTANTIATE(T)                                                                                        \
  template void conv_transpose2d_forward<T>(Context&, const ConvTranspose2dGeom&, const T*, const float*, const float*, T*); \
  template void conv_transpose2d_backward_input<T>(Context&, const ConvTranspose2dGeom&, const T*, const float*, T*); \
  template void conv_transpose2d_backward_weight<T>(Context&, const ConvTranspose2dGeom&, const T*, const T*, float*, Write); \
  template void conv_transpose2d_backward_bias<T>(Context&, const ConvTranspose2dGeom&, const T*, float*, Write);
// clang-format on
OFFRAMP_INSTANTIATE(float)
OFFRAMP_INSTANTIATE(bf16)
#undef OFFRAMP_INSTANTIATE

}  // namespace offramp::cuda
