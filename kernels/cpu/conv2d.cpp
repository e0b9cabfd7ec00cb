#include "kernels/conv2d.h"

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/conv2d_library.h"
#include "kernels/cpu/conv2d_native.h"
#include "kernels/cpu/conv2d_plan.h"
#include "kernels/cpu/gemm.h"

namespace offramp::cpu {
namespace {

template <class T>
ConvAlgorithm algorithm_for(const Context& ctx, const Conv2dGeom& g, ConvDirection direction) {
  if (ctx.conv_backend() == ConvBackend::kNative) return ConvAlgorithm::kNative;
  return default_algorithm(g, direction, std::is_same_v<T, bf16>);
}

bool in_library(ConvAlgorithm algorithm) {
  return algorithm == ConvAlgorithm::kDirect || algorithm == ConvAlgorithm::kDirectWhole ||
         algorithm == ConvAlgorithm::kWinograd;
}

}  // namespace

ConvAlgorithm default_algorithm(const Conv2dGeom&, ConvDirection, bool) { return ConvAlgorithm::kDirect; }

template <class T>
void conv2d_forward(Context& ctx, const Conv2dGeom& g, const T* x, const float* w, const float* bias, T* y) {
  if (g.y_size() == 0) return;
  const ConvAlgorithm algorithm = algorithm_for<T>(ctx, g, ConvDirection::kForward);
  if (in_library(algorithm) && library::conv2d_forward(ctx, g, algorithm, x, w, bias, y)) return;
  native::conv2d_forward(ctx, g, x, w, bias, y);
}

template <class T>
void conv2d_backward_input(
    Context& ctx, const Conv2dGeom& g, const T* dy, const float* w, T* dx, Write write) {
  if (g.x_size() == 0) return;
  const ConvAlgorithm algorithm = algorithm_for<T>(ctx, g, ConvDirection::kBackwardInput);
  if (in_library(algorithm) && library::conv2d_backward_input(ctx, g, algorithm, dy, w, dx, write)) return;
  native::conv2d_backward_input(ctx, g, dy, w, dx, write);
}

template <class T>
void conv2d_backward_weight(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  if (g.n == 0) {
    if (write == Write::kOverwrite) std::fill_n(dw, g.w_size(), 0.f);
    return;
  }
  const ConvAlgorithm algorithm = algorithm_for<T>(ctx, g, ConvDirection::kBackwardWeight);
  if (in_library(algorithm) && library::conv2d_backward_weight(ctx, g, algorithm, x, dy, dw, write)) return;
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
