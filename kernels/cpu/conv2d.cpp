// Chooses the algorithm. Where the chosen one cannot do a case (a processor without bf16, say), our own
// convolution can.
#include "kernels/conv2d.h"

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/conv2d_depthwise.h"
#include "kernels/cpu/conv2d_library.h"
#include "kernels/cpu/conv2d_native.h"
#include "kernels/cpu/conv2d_plan.h"
#include "kernels/cpu/conv2d_tiles.h"
#include "kernels/cpu/conv2d_winograd.h"
#include "kernels/cpu/gemm.h"

namespace offramp::cpu {
namespace {

template <class T>
constexpr bool kIsBf16 = std::is_same_v<T, bf16>;

template <class T>
void native_forward(Context& ctx, const Conv2dGeom& g, const T* x, const float* w, const float* bias, T* y) {
  auto* packed = static_cast<float*>(ctx.workspace(
      Context::kPacked, static_cast<std::size_t>(native::forward_weight_size(g)) * sizeof(float)));
  native::pack_forward_weights(ctx, g, w, packed);
  native::conv2d_forward(ctx, g, x, packed, Epilogue<T>{.bias = bias, .y = y});
}

template <class T>
void depthwise_forward(
    Context& ctx, const Conv2dGeom& g, const T* x, const float* w, const float* bias, T* y) {
  auto* packed = static_cast<float*>(
      ctx.workspace(Context::kPacked, static_cast<std::size_t>(g.w_size()) * sizeof(float)));
  depthwise::pack_forward_weights(g, w, packed);
  depthwise::conv2d_forward(ctx, g, x, packed, Epilogue<T>{.bias = bias, .y = y});
}

}  // namespace

template <class T>
bool conv2d_forward_by(ConvAlgorithm algorithm,
                       Context& ctx,
                       const Conv2dGeom& g,
                       const T* x,
                       const float* w,
                       const float* bias,
                       T* y) {
  switch (algorithm) {
    case ConvAlgorithm::kNative:
      native_forward(ctx, g, x, w, bias, y);
      return true;
    case ConvAlgorithm::kDepthwise:
      if (!depthwise::handles(g)) return false;
      depthwise_forward(ctx, g, x, w, bias, y);
      return true;
    case ConvAlgorithm::kWinograd:
      if (!winograd::handles(g)) return false;
      winograd::conv2d_forward(ctx, g, x, w, Epilogue<T>{.bias = bias, .y = y});
      return true;
    case ConvAlgorithm::kTiles:
      if constexpr (kIsBf16<T>) {
        if (!tiles::handles(g, ConvDirection::kForward)) return false;
        tiles::conv2d_forward(ctx, g, x, w, Epilogue<T>{.bias = bias, .y = y});
        return true;
      }
      return false;
    default:
      return library::conv2d_forward(ctx, g, algorithm, x, w, bias, y);
  }
}

template <class T>
bool conv2d_backward_input_by(ConvAlgorithm algorithm,
                              Context& ctx,
                              const Conv2dGeom& g,
                              const T* dy,
                              const float* w,
                              T* dx,
                              Write write) {
  switch (algorithm) {
    case ConvAlgorithm::kNative:
      native::conv2d_backward_input(ctx, g, dy, w, dx, write);
      return true;
    case ConvAlgorithm::kDepthwise:
      if (!depthwise::handles(g)) return false;
      depthwise::conv2d_backward_input(ctx, g, dy, w, dx, write);
      return true;
    case ConvAlgorithm::kWinograd:
      if (!winograd::handles(g)) return false;
      winograd::conv2d_backward_input(ctx, g, dy, w, dx, write);
      return true;
    case ConvAlgorithm::kTiles:
      if constexpr (kIsBf16<T>) {
        if (!tiles::handles(g, ConvDirection::kBackwardInput)) return false;
        tiles::conv2d_backward_input(ctx, g, dy, w, dx, write);
        return true;
      }
      return false;
    default:
      return library::conv2d_backward_input(ctx, g, algorithm, dy, w, dx, write);
  }
}

template <class T>
bool conv2d_backward_weight_by(ConvAlgorithm algorithm,
                               Context& ctx,
                               const Conv2dGeom& g,
                               const T* x,
                               const T* dy,
                               float* dw,
                               Write write) {
  switch (algorithm) {
    case ConvAlgorithm::kNative:
      native::conv2d_backward_weight(ctx, g, x, dy, dw, write);
      return true;
    case ConvAlgorithm::kDepthwise:
      if (!depthwise::handles(g)) return false;
      depthwise::conv2d_backward_weight(ctx, g, x, dy, dw, write);
      return true;
    case ConvAlgorithm::kWinograd:
      if (!winograd::handles(g)) return false;
      winograd::conv2d_backward_weight(ctx, g, x, dy, dw, write);
      return true;
    case ConvAlgorithm::kTiles:
      if constexpr (kIsBf16<T>) {
        if (!tiles::handles(g, ConvDirection::kBackwardWeight)) return false;
        tiles::conv2d_backward_weight(ctx, g, x, dy, dw, write);
        return true;
      }
      return false;
    default:
      return library::conv2d_backward_weight(ctx, g, algorithm, x, dy, dw, write);
  }
}

template <class T>
void conv2d_forward(Context& ctx, const Conv2dGeom& g, const T* x, const float* w, const float* bias, T* y) {
  if (g.y_size() == 0) return;
  if (conv2d_forward_by(algorithm_for(ctx, g, ConvDirection::kForward, kIsBf16<T>), ctx, g, x, w, bias, y))
    return;
  native_forward(ctx, g, x, w, bias, y);
}

template <class T>
void conv2d_backward_input(
    Context& ctx, const Conv2dGeom& g, const T* dy, const float* w, T* dx, Write write) {
  if (g.x_size() == 0) return;
  if (conv2d_backward_input_by(
          algorithm_for(ctx, g, ConvDirection::kBackwardInput, kIsBf16<T>), ctx, g, dy, w, dx, write))
    return;
  native::conv2d_backward_input(ctx, g, dy, w, dx, write);
}

template <class T>
void conv2d_backward_weight(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  if (g.n == 0) {
    if (write == Write::kOverwrite) std::fill_n(dw, g.w_size(), 0.f);
    return;
  }
  if (conv2d_backward_weight_by(
          algorithm_for(ctx, g, ConvDirection::kBackwardWeight, kIsBf16<T>), ctx, g, x, dy, dw, write))
    return;
  native::conv2d_backward_weight(ctx, g, x, dy, dw, write);
}

template <class T>
void conv2d_backward_bias(Context& ctx, const Conv2dGeom& g, const T* dy, float* db, Write write) {
  column_sums(ctx, std::int64_t{g.n} * g.out_h() * g.out_w(), g.k, dy, db, write);
}

#define OFFRAMP_INSTANTIATE(T)                                                                          \
  template bool conv2d_forward_by(                                                                      \
      ConvAlgorithm, Context&, const Conv2dGeom&, const T*, const float*, const float*, T*);            \
  template bool conv2d_backward_input_by(                                                               \
      ConvAlgorithm, Context&, const Conv2dGeom&, const T*, const float*, T*, Write);                   \
  template bool conv2d_backward_weight_by(                                                              \
      ConvAlgorithm, Context&, const Conv2dGeom&, const T*, const T*, float*, Write);                   \
  template void conv2d_forward(Context&, const Conv2dGeom&, const T*, const float*, const float*, T*);  \
  template void conv2d_backward_input(Context&, const Conv2dGeom&, const T*, const float*, T*, Write);  \
  template void conv2d_backward_weight(Context&, const Conv2dGeom&, const T*, const T*, float*, Write); \
  template void conv2d_backward_bias(Context&, const Conv2dGeom&, const T*, float*, Write);
OFFRAMP_INSTANTIATE(float)
OFFRAMP_INSTANTIATE(bf16)
#undef OFFRAMP_INSTANTIATE

}  // namespace offramp::cpu
