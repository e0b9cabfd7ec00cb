// Convolution as products of implicit matrices on tensor cores, as conv2d.cu makes them on ordinary ones
// (conv2d_core_problems.h: the matrices; tensor_core_product.h: the kernel).
#include "kernels/cuda/conv2d_tensor_core.h"

#include <algorithm>
#include <limits>

#include "kernels/cuda/context.h"
#include "kernels/cuda/conv2d_core_problems.h"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#pragma nv_diag_suppress 177  // the kernel is empty there, so nobody calls its operands
#endif

namespace offramp::cuda {
namespace {

// Blocks that are enough: two for each of the 132 multiprocessors of an H200 in the forward and input gradient;
// four in the weight gradient, whose sums are long. A part of a sum is at least eight tiles long.
constexpr int kBlocks = 264, kWeightBlocks = 528, kShortest = 256;

bool all_aligned(std::initializer_list<const void*> pointers) {
  for (const void* p : pointers) {
    if (reinterpret_cast<std::uintptr_t>(p) % 16 != 0) return false;
  }
  return true;
}

CoreForward core_forward(
    const Conv2dGeom& g, const bf16* x, const bf16* filters, const ConvEpilogue<bf16>& epilogue, bf16* y) {
  return {.g = g,
          .out_h = g.out_h(),
          .out_w = g.out_w(),
          .step_taps = kCoreSum / g.c,
          .step_rest = kCoreSum % g.c,
          .x = x,
          .filters = filters,
          .epilogue = epilogue,
          .y = y};
}

template <class Problem>
void run_forward(Context& ctx, const Problem& problem) {
  const Conv2dGeom& g = problem.g;
  const std::int64_t row_tiles = ceil_div(std::int64_t{g.n} * g.out_h() * g.out_w(), kCoreRows);
  tensor_core_product(ctx, row_tiles, g.k, g.r * g.s * g.c, kBlocks, kShortest, problem);
}

}  // namespace

bool tensor_core_can(const Context& /*ctx*/, const Conv2dGeom& g) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  // Not what the device is, but what the program has for it: below 80 the kernel is empty.
  return compiled_architecture(tensor_core_product_kernel<CoreForward, 16>) >= 80 && g.groups == 1 &&
         g.c % 8 == 0 && g.k % 8 == 0 && g.r * g.s <= kCoreTaps - 4 && g.x_size() <= kMost &&
         g.y_size() <= kMost && g.w_size() <= kMost;
}

bool tensor_core_forward(Context& ctx,
                         const Conv2dGeom& g,
                         const bf16* x,
                         const bf16* filters,
                         const ConvEpilogue<bf16>& epilogue,
                         bf16* y) {
  if (!tensor_core_can(ctx, g) || !all_aligned({x, filters, epilogue.residual, y})) return false;
  run_forward(ctx, core_forward(g, x, filters, epilogue, y));
  return true;
}

bool tensor_core_forward_moments(Context& ctx,
                                 const Conv2dGeom& g,
                                 const bf16* x,
                                 const bf16* filters,
                                 const float* bias,
                                 bf16* y,
                                 const BatchNormGeom& norm,
                                 const BatchNormTrain<bf16>& t) {
  if (!tensor_core_can(ctx, g) || g.y_size() == 0 || !all_aligned({x, filters, y})) return false;
  run_forward(
      ctx,
      CoreForwardMoments{core_forward(g, x, filters, {}, y), bias, channel_moments(ctx, norm, t, kCoreRows)});
  return true;
}

bool tensor_core_backward_input(
    Context& ctx, const Conv2dGeom& g, const bf16* dy, const bf16* filters, bf16* dx, Write write) {
  if (!tensor_core_can(ctx, g) || !all_aligned({dy, filters, dx})) return false;
  const auto run = [&](auto whole) {
    const CoreInputGradient<decltype(whole)::value> problem{.g = g,
                                                            .out_h = g.out_h(),
                                                            .out_w = g.out_w(),
                                                            .step_taps = kCoreSum / g.k,
                                                            .step_rest = kCoreSum % g.k,
                                                            .dy = dy,
                                                            .filters = filters,
                                                            .dx = dx,
                                                            .accumulate = write == Write::kAccumulate};
    std::int64_t row_tiles = 0;
    int length = 0;  // the longest sum of a phase
    for (int index = 0; index < g.stride * g.stride; ++index) {
      const CorePhaseShape phase = core_phase(g, index);
      row_tiles += phase.tiles(g.n);
      length = std::max(length, phase.down * phase.right * g.k);
    }
    tensor_core_product(ctx, row_tiles, g.c, length, kBlocks, kShortest, problem);
  };
  if (g.k % kCoreSum == 0) {
    run(std::true_type());
  } else {
    run(std::false_type());
  }
  return true;
}

bool tensor_core_backward_weight(
    Context& ctx, const Conv2dGeom& g, const bf16* x, const bf16* dy, float* dw, Write write) {
  if (!tensor_core_can(ctx, g) || !all_aligned({x, dy})) return false;
  const int out_h = g.out_h(), out_w = g.out_w();
  // 32 output pixels in images, rows and columns.
  const int images = kCoreSum / (out_h * out_w), rest = kCoreSum % (out_h * out_w);
  const int rows = rest / out_w, columns = rest % out_w;
  const CoreWeightGradient problem{
      .g = g,
      .pixels = g.n * out_h * out_w,
      .step_columns = columns * g.stride,
      .step_rows = rows * g.stride,
      .step_offset = ((images * g.h + rows * g.stride) * g.w + columns * g.stride) * g.c,
      .width = out_w * g.stride,
      .height = out_h * g.stride,
      .column_carry = (g.stride * g.w - out_w * g.stride) * g.c,
      .row_carry = (g.h - out_h * g.stride) * g.w * g.c,
      .x = x,
      .dy = dy,
      .dw = dw,
      .accumulate = write == Write::kAccumulate};
  const std::int64_t row_tiles = ceil_div(std::int64_t{g.r} * g.s * g.c, kCoreRows);
  tensor_core_product(ctx, row_tiles, g.k, problem.pixels, kWeightBlocks, kShortest, problem);
  return true;
}

}  // namespace offramp::cuda
