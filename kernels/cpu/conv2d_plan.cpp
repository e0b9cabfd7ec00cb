// The table behind default_algorithm, from tests/bench/kernels/conv_bench on two cores with AVX-512 (batch
// 128, two threads). It does not ask for the batch, so that an image has the same bits in every batch.
#include "kernels/cpu/conv2d_plan.h"

#include <algorithm>

#include "kernels/cpu/conv2d_depthwise.h"
#include "kernels/cpu/conv2d_tiles.h"
#include "kernels/cpu/conv2d_winograd.h"
#include "kernels/cpu/onednn.h"

namespace offramp::cpu {

ConvMachine conv_machine() {
#if OFFRAMP_HAS_ONEDNN && defined(__x86_64__)
  static const Bf16Products bf16 = [] {
    const int isa = dnnl_get_effective_cpu_isa();
    const auto has = [&](int wanted) { return (isa & wanted) == wanted; };
    if (has(dnnl_cpu_isa_avx512_core_amx)) return Bf16Products::kMatrixUnit;
    if (has(dnnl_cpu_isa_avx512_core_bf16) && __builtin_cpu_is("amd")) return Bf16Products::kTwiceAsFast;
    return Bf16Products::kSlower;
  }();
  return {.bf16 = bf16, .tiles = tiles::available()};
#else
  return {.tiles = tiles::available()};
#endif
}

namespace {

// Maps of 2 x 2 and less: the library's direct f32 kernels and all its weight gradients are two to three
// times slower there.
bool tiny_map(const Conv2dGeom& g) { return g.out_h() * g.out_w() <= 4; }
bool small_channels(const Conv2dGeom& g) { return g.c < 16 || g.k < 16; }
// Filters as nets have them. For others the library's choice changes with batch and threads, and with it the bits.
bool usual_filter(const Conv2dGeom& g) {
  return g.r == g.s && (g.r == 1 || g.r == 3) && g.stride <= 2 && g.pad <= g.r / 2;
}
bool winograd_fits(const Conv2dGeom& g) { return winograd::handles(g) && !small_channels(g); }

ConvAlgorithm f32_product(const Conv2dGeom& g, bool bf16) {
  if (tiny_map(g) && !small_channels(g)) return ConvAlgorithm::kNative;
  if (winograd_fits(g)) return ConvAlgorithm::kWinograd;
  return bf16 ? ConvAlgorithm::kWidened : ConvAlgorithm::kDirect;
}

// On AMD's Zen 4 (one thread) the library's bf16 products run at 190 to 260 GFLOP/s, weight gradients at 110
// to 210, our Winograd at 200 to 300 (nominal) from 64 channels on.
ConvAlgorithm doubled_bf16_product(const Conv2dGeom& g, bool weight) {
  if (tiny_map(g) && !small_channels(g)) return weight ? ConvAlgorithm::kNative : ConvAlgorithm::kDirect;
  const int narrower = std::min(g.c, g.k), winograd_from = weight ? 32 : 64;
  return winograd_fits(g) && narrower >= winograd_from ? ConvAlgorithm::kWinograd : ConvAlgorithm::kDirect;
}

}  // namespace

ConvAlgorithm default_algorithm(const Conv2dGeom& g,
                                ConvDirection direction,
                                bool bf16,
                                ConvMachine machine) {
  const bool weight = direction == ConvDirection::kBackwardWeight;
  if (depthwise::handles(g)) {
    const bool library = weight && !tiny_map(g) && (!bf16 || machine.bf16 == Bf16Products::kTwiceAsFast);
    return library ? ConvAlgorithm::kDirect : ConvAlgorithm::kDepthwise;
  }
  if (bf16 && machine.tiles && tiles::handles(g, direction)) return ConvAlgorithm::kTiles;
  if (!usual_filter(g)) return ConvAlgorithm::kNative;
  if (g.groups > 1) return ConvAlgorithm::kDirect;
  if (bf16 && machine.bf16 == Bf16Products::kMatrixUnit) return ConvAlgorithm::kDirect;
  if (bf16 && machine.bf16 == Bf16Products::kTwiceAsFast) return doubled_bf16_product(g, weight);
  return f32_product(g, bf16);
}

ConvAlgorithm algorithm_for(const Context& ctx, const Conv2dGeom& g, ConvDirection direction, bool bf16) {
  // How fast the library's bf16 products are is beside the point where they are not used.
  ConvMachine machine = conv_machine();
  if (ctx.conv_backend() == ConvBackend::kNative) machine.bf16 = Bf16Products::kSlower;
  ConvAlgorithm algorithm = default_algorithm(g, direction, bf16, machine);
  if (algorithm == ConvAlgorithm::kWinograd && !ctx.winograd()) {
    algorithm =
        bf16 && machine.bf16 == Bf16Products::kSlower ? ConvAlgorithm::kWidened : ConvAlgorithm::kDirect;
  }
  const bool ours = algorithm == ConvAlgorithm::kDepthwise || algorithm == ConvAlgorithm::kWinograd ||
                    algorithm == ConvAlgorithm::kTiles;
  if (ours || ctx.conv_backend() == ConvBackend::kLibrary) return algorithm;
  return depthwise::handles(g) ? ConvAlgorithm::kDepthwise : ConvAlgorithm::kNative;
}

ConvAlgorithm packed_algorithm(const Context& ctx, const Conv2dGeom& g, bool bf16) {
  const ConvAlgorithm algorithm = algorithm_for(ctx, g, ConvDirection::kForward, bf16);
  if (algorithm != ConvAlgorithm::kWinograd) return algorithm;
  // Transformed weights are four times as large, and one image reads each once: from 512 channels on that costs
  // more than the multiplications it saves, with the library's bf16 products from 256 on.
  if (g.c * g.k <= (bf16 ? 128 * 128 : 256 * 256)) return algorithm;
  if (ctx.conv_backend() != ConvBackend::kLibrary) return ConvAlgorithm::kNative;
  return bf16 && conv_machine().bf16 == Bf16Products::kSlower ? ConvAlgorithm::kWidened
                                                              : ConvAlgorithm::kDirect;
}

}  // namespace offramp::cpu
