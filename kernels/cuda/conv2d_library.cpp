#include "kernels/cuda/conv2d_library.h"

#include <type_traits>

#include "kernels/cuda/context.h"
#include "kernels/cuda/conv2d_tensor_core.h"
#include "kernels/cuda/cublaslt_product.h"
#include "kernels/cuda/cudnn_conv.h"
#include "kernels/cuda/depthwise.h"
#include "kernels/cuda/parts.h"

namespace offramp::cuda {
namespace {

bool is_product(const Conv2dGeom& g) {
  return g.r == 1 && g.s == 1 && g.stride == 1 && g.pad == 0 && g.groups == 1;
}

// Our own kernels as a choice of the plan table: those of bf16 on tensor cores. The ones for float are far
// behind any library's.
template <class T>
CudnnConvolutions::OwnKernel own_forward(Context& ctx, const Conv2dGeom& g, const ConvEpilogue<T>& epilogue) {
  if constexpr (std::is_same_v<T, bf16>) {
    return [&ctx, g, epilogue](const ConvBuffers& b) {
      return tensor_core_forward(ctx,
                                 g,
                                 static_cast<const bf16*>(b.image),
                                 static_cast<const bf16*>(b.filter),
                                 epilogue,
                                 static_cast<bf16*>(const_cast<void*>(b.output)));
    };
  }
  return {};
}
template <class T>
CudnnConvolutions::OwnKernel own_backward_input(Context& ctx, const Conv2dGeom& g, Write write) {
  if constexpr (std::is_same_v<T, bf16>) {
    return [&ctx, g, write](const ConvBuffers& b) {
      return tensor_core_backward_input(ctx,
                                        g,
                                        static_cast<const bf16*>(b.output),
                                        static_cast<const bf16*>(b.filter),
                                        static_cast<bf16*>(const_cast<void*>(b.image)),
                                        write);
    };
  }
  return {};
}
template <class T>
CudnnConvolutions::OwnKernel own_backward_weight(Context& ctx, const Conv2dGeom& g, Write write) {
  if constexpr (std::is_same_v<T, bf16>) {
    return [&ctx, g, write](const ConvBuffers& b) {
      return tensor_core_backward_weight(ctx,
                                         g,
                                         static_cast<const bf16*>(b.image),
                                         static_cast<const bf16*>(b.output),
                                         static_cast<float*>(const_cast<void*>(b.filter)),
                                         write);
    };
  }
  return {};
}

// Rows of the product that a 1x1 convolution is.
int pixels(const Conv2dGeom& g) { return g.n * g.h * g.w; }

}  // namespace

template <class T>
LibraryForward library_forward(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* filters, const ConvEpilogue<T>& epilogue, T* y) {
  constexpr NumberType kType = kNumberType<T>;
  const bool more = epilogue.residual != nullptr || epilogue.relu;
  const bool bias = epilogue.bias != nullptr;
  // cuBLASLt adds a bias of the output's type: ours is float.
  if (is_product(g) && ctx.cublaslt() != nullptr && !more && (kType == NumberType::kFloat || !bias)) {
    const ProductProblem product{.rows = pixels(g),
                                 .columns = g.k,
                                 .depth = g.c,
                                 .a = Lines::kAlongSum,
                                 .b = Lines::kAlongSum,
                                 .in = kType,
                                 .out = kType,
                                 .bias = bias,
                                 .tf32 = ctx.tf32()};
    if (ctx.cublaslt()->run(ctx, product, x, filters, epilogue.bias, y)) return LibraryForward::kWhole;
  }
  if (ctx.cudnn() == nullptr) return LibraryForward::kNo;
  ConvProblem problem{.pass = ConvPass::kForward, .g = g, .in = kType, .out = kType, .tf32 = ctx.tf32()};
  ConvBuffers buffers{.image = x, .filter = filters, .output = y};
  if constexpr (kType == NumberType::kFloat) {
    // Engines that do more than the convolution compute on tensor cores only. A float result loses nothing by
    // the way through memory.
    if (!ctx.cudnn()->run(ctx, problem, buffers, {})) return LibraryForward::kNo;
    return bias || more ? LibraryForward::kWithoutEpilogue : LibraryForward::kWhole;
  } else {
    problem.bias = bias;
    problem.residual = epilogue.residual != nullptr;
    problem.relu = epilogue.relu;
    buffers.bias = epilogue.bias;
    buffers.residual = epilogue.residual;
    return ctx.cudnn()->run(ctx, problem, buffers, own_forward(ctx, g, epilogue)) ? LibraryForward::kWhole
                                                                                  : LibraryForward::kNo;
  }
}

template <class T>
bool library_backward_input(
    Context& ctx, const Conv2dGeom& g, const T* dy, const T* filters, T* dx, Write write) {
  constexpr NumberType kType = kNumberType<T>;
  if ((ctx.cudnn() == nullptr && ctx.cublaslt() == nullptr) || g.y_size() == 0) return false;
  const bool adds = write == Write::kAccumulate;
  if (is_product(g) && ctx.cublaslt() != nullptr) {
    const ProductProblem product{.rows = pixels(g),
                                 .columns = g.c,
                                 .depth = g.k,
                                 .a = Lines::kAlongSum,
                                 .b = Lines::kAcrossSum,
                                 .in = kType,
                                 .out = kType,
                                 .adds = adds,
                                 .tf32 = ctx.tf32()};
    if (ctx.cublaslt()->run(ctx, product, dy, filters, nullptr, dx)) return true;
  }
  const ConvProblem problem{
      .pass = ConvPass::kBackwardInput, .g = g, .in = kType, .out = kType, .adds = adds, .tf32 = ctx.tf32()};
  return ctx.cudnn() != nullptr && ctx.cudnn()->run(ctx,
                                                    problem,
                                                    {.image = dx, .filter = filters, .output = dy},
                                                    own_backward_input<T>(ctx, g, write));
}

template <class T>
bool library_backward_weight(
    Context& ctx, const Conv2dGeom& g, const T* x, const T* dy, float* dw, Write write) {
  constexpr NumberType kType = kNumberType<T>;
  if (g.y_size() == 0) return false;
  const bool adds = write == Write::kAccumulate;
  if (is_product(g) && ctx.cublaslt() != nullptr) {
    const ProductProblem product{.rows = g.k,
                                 .columns = g.c,
                                 .depth = pixels(g),
                                 .a = Lines::kAcrossSum,
                                 .b = Lines::kAcrossSum,
                                 .in = kType,
                                 .adds = adds,
                                 .tf32 = ctx.tf32()};
    if (ctx.cublaslt()->run(ctx, product, dy, x, nullptr, dw)) return true;
  }
  if (ctx.cudnn() == nullptr) return false;
  // An engine that writes another type than it reads cannot add: the sum is made by us.
  const bool apart = adds && kType != NumberType::kFloat;
  float* const to = apart ? static_cast<float*>(ctx.workspace(
                                Context::kPartials, static_cast<std::size_t>(g.w_size()) * sizeof(float)))
                          : dw;
  const ConvProblem problem{
      .pass = ConvPass::kBackwardWeight, .g = g, .in = kType, .adds = adds && !apart, .tf32 = ctx.tf32()};
  if (!ctx.cudnn()->run(
          ctx, problem, {.image = x, .filter = to, .output = dy}, own_backward_weight<T>(ctx, g, write))) {
    return false;
  }
  if (apart) add_parts(ctx, g.w_size(), 1, to, dw, Write::kAccumulate);
  return true;
}

#define OFFRAMP_INSTANTIATE(T)                                                                      \
  template LibraryForward library_forward(                                                          \
      Context&, const Conv2dGeom&, const T*, const T*, const ConvEpilogue<T>&, T*);                 \
  template bool library_backward_input(Context&, const Conv2dGeom&, const T*, const T*, T*, Write); \
  template bool library_backward_weight(Context&, const Conv2dGeom&, const T*, const T*, float*, Write);
OFFRAMP_INSTANTIATE(float)
OFFRAMP_INSTANTIATE(bf16)
#undef OFFRAMP_INSTANTIATE

}  // namespace offramp::cuda
