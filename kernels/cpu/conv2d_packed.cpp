// The forward with weights packed once: for evaluation and for the latency of one image, where packing per
// call would cost more than the convolution.
#include "kernels/cpu/conv2d_packed.h"

#include <stdexcept>
#include <type_traits>

#include "kernels/cpu/conv2d_depthwise.h"
#include "kernels/cpu/conv2d_library.h"
#include "kernels/cpu/conv2d_native.h"
#include "kernels/cpu/conv2d_tiles.h"
#include "kernels/cpu/conv2d_winograd.h"

namespace offramp::cpu {

template <class T>
std::shared_ptr<const PackedConv2d> conv2d_pack(Context& ctx,
                                                const Conv2dGeom& g,
                                                const float* w,
                                                const float* bias) {
  auto packed = std::make_shared<PackedConv2d>();
  packed->geom = g;
  packed->w.assign(w, w + g.w_size());
  if (bias) packed->bias.assign(bias, bias + g.k);
  packed->algorithm = packed_algorithm(ctx, g, std::is_same_v<T, bf16>);
  if (packed->algorithm == ConvAlgorithm::kWinograd) {
    packed->packed =
        aligned_bytes(static_cast<std::size_t>(winograd::forward_weight_size(g)) * sizeof(float));
    winograd::pack_forward_weights(ctx, g, w, static_cast<float*>(packed->packed.get()));
  } else if (packed->algorithm == ConvAlgorithm::kDepthwise) {
    packed->packed = aligned_bytes(static_cast<std::size_t>(g.w_size()) * sizeof(float));
    depthwise::pack_forward_weights(g, w, static_cast<float*>(packed->packed.get()));
  } else if (packed->algorithm == ConvAlgorithm::kTiles) {
    packed->packed = aligned_bytes(static_cast<std::size_t>(tiles::forward_weight_size(g)) * sizeof(bf16));
    tiles::pack_forward_weights(g, w, static_cast<bf16*>(packed->packed.get()));
  } else if (packed->algorithm == ConvAlgorithm::kNative || !library::pack_forward_weights<T>(ctx, *packed)) {
    packed->algorithm = ConvAlgorithm::kNative;
    packed->packed = aligned_bytes(static_cast<std::size_t>(native::forward_weight_size(g)) * sizeof(float));
    native::pack_forward_weights(ctx, g, w, static_cast<float*>(packed->packed.get()));
  }
  return packed;
}

template <class T>
void conv2d_forward_packed(Context& ctx,
                           const Conv2dGeom& g,
                           const PackedConv2d& packed,
                           const T* x,
                           const T* residual,
                           bool relu,
                           T* y) {
  Conv2dGeom same = packed.geom;
  same.n = g.n;
  if (same != g)
    throw std::logic_error("conv2d_forward_packed: the weights were packed for another geometry");
  if (g.y_size() == 0) return;
  const Epilogue<T> epilogue{packed.bias_or_null(), residual, relu, y};
  switch (packed.algorithm) {
    case ConvAlgorithm::kDepthwise:
      depthwise::conv2d_forward(ctx, g, x, packed.packed_floats(), epilogue);
      return;
    case ConvAlgorithm::kWinograd:
      winograd::conv2d_forward_packed(ctx, g, x, packed.packed_floats(), epilogue);
      return;
    case ConvAlgorithm::kNative:
      native::conv2d_forward(ctx, g, x, packed.packed_floats(), epilogue);
      return;
    case ConvAlgorithm::kTiles:
      if constexpr (std::is_same_v<T, bf16>)
        tiles::conv2d_forward_packed(ctx, g, x, static_cast<const bf16*>(packed.packed.get()), epilogue);
      return;
    default:
      break;
  }
  if (library::conv2d_forward_packed(ctx, g, packed, x, epilogue)) return;
  // The library has the geometry, but not with these additions or this batch.
  auto* weights = static_cast<float*>(ctx.workspace(
      Context::kPacked, static_cast<std::size_t>(native::forward_weight_size(g)) * sizeof(float)));
  native::pack_forward_weights(ctx, g, packed.w.data(), weights);
  native::conv2d_forward(ctx, g, x, weights, epilogue);
}

#define OFFRAMP_INSTANTIATE(T)                                  \
  template std::shared_ptr<const PackedConv2d> conv2d_pack<T>(  \
      Context&, const Conv2dGeom&, const float*, const float*); \
  template void conv2d_forward_packed(                          \
      Context&, const Conv2dGeom&, const PackedConv2d&, const T*, const T*, bool, T*);
OFFRAMP_INSTANTIATE(float)
OFFRAMP_INSTANTIATE(bf16)
#undef OFFRAMP_INSTANTIATE

}  // namespace offramp::cpu
