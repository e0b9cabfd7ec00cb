// The table behind default_algorithm, from tests/bench/kernels/conv_bench on two cores with AVX-512 (batch
// 128, two threads). It does not ask for the batch, so that an image has the same bits in every batch.
#include "kernels/cpu/conv2d_plan.h"

#include "kernels/cpu/conv2d_depthwise.h"
#include "kernels/cpu/conv2d_winograd.h"
#include "kernels/cpu/onednn.h"

namespace offramp::cpu {

ConvMachine conv_machine() {
#if OFFRAMP_HAS_ONEDNN
  static const bool amx =
      (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx;
  return {.fast_bf16 = amx};
#else
  return {};
#endif
}

ConvAlgorithm default_algorithm(const Conv2dGeom& g,
                                ConvDirection direction,
                                bool bf16,
                                ConvMachine machine) {
  const bool weight = direction == ConvDirection::kBackwardWeight;
  const bool tiny_map =
      g.out_h() * g.out_w() <= 4;  // the library's direct kernels are two to three times slower there
  if (depthwise::handles(g)) {
    return weight && !bf16 && !tiny_map ? ConvAlgorithm::kDirect : ConvAlgorithm::kDepthwise;
  }
  if (g.groups > 1) return ConvAlgorithm::kDirect;
  const bool pointwise = g.r == 1 && g.s == 1;
  const bool small_channels = g.c < 16 || g.k < 16;
  if (bf16 && machine.fast_bf16) {
    // The library's bf16 products run at 1300 to 4000 GFLOP/s, its weight gradients of small maps at 70 to
    // 390.
    if (!weight) return ConvAlgorithm::kDirect;
    if (winograd::handles(g) && !small_channels && g.out_h() <= 4) return ConvAlgorithm::kWinograd;
    if (pointwise && (g.stride > 1 || (g.c >= 256 && g.k >= 256))) return ConvAlgorithm::kWidened;
    return ConvAlgorithm::kDirect;
  }
  if (tiny_map && !small_channels) return ConvAlgorithm::kNative;
  if (winograd::handles(g) && !small_channels) return ConvAlgorithm::kWinograd;
  return bf16 ? ConvAlgorithm::kWidened : ConvAlgorithm::kDirect;
}

ConvAlgorithm algorithm_for(const Context& ctx, const Conv2dGeom& g, ConvDirection direction, bool bf16) {
  ConvAlgorithm algorithm = default_algorithm(g, direction, bf16);
  if (algorithm == ConvAlgorithm::kWinograd && !ctx.winograd()) {
    algorithm = bf16 && !conv_machine().fast_bf16 ? ConvAlgorithm::kWidened : ConvAlgorithm::kDirect;
  }
  const bool ours = algorithm == ConvAlgorithm::kDepthwise || algorithm == ConvAlgorithm::kWinograd;
  if (ours || ctx.conv_backend() == ConvBackend::kLibrary) return algorithm;
  return depthwise::handles(g) ? ConvAlgorithm::kDepthwise : ConvAlgorithm::kNative;
}

}  // namespace offramp::cpu
