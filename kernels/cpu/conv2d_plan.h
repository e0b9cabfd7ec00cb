#pragma once
// Which algorithm computes a convolution: the committed rule, by geometry, direction and type alone.
#include "kernels/conv2d.h"
#include "kernels/cpu/context.h"

namespace offramp::cpu {

enum class ConvDirection { kForward, kBackwardInput, kBackwardWeight };

// The library's: kDirect in one-thread shards of the batch, kDirectWhole over the whole batch, kWidened as
// kDirect in f32 with bf16 activations widened shard by shard, kLibraryWinograd F(4, 3), f32, with
// activations reordered on both sides. Ours: kNative, kDepthwise, kWinograd, kTiles (bf16), each in
// conv2d_<name>.h.
enum class ConvAlgorithm {
  kDirect,
  kDirectWhole,
  kWidened,
  kLibraryWinograd,
  kNative,
  kDepthwise,
  kWinograd,
  kTiles
};

// The library's bf16 products beside its f32 ones: slower (Intel without AMX), twice as fast (AMD since Zen
// 4), ten times as fast (AMX).
enum class Bf16Products { kSlower, kTwiceAsFast, kMatrixUnit };

// What the rule needs to know of the processor.
struct ConvMachine {
  Bf16Products bf16 = Bf16Products::kSlower;
  bool tiles = false;  // kTiles has its unit
};
ConvMachine conv_machine();

ConvAlgorithm default_algorithm(const Conv2dGeom& g,
                                ConvDirection direction,
                                bool bf16,
                                ConvMachine machine = conv_machine());
// The same, within what the context allows: without the library, without Winograd.
ConvAlgorithm algorithm_for(const Context& ctx, const Conv2dGeom& g, ConvDirection direction, bool bf16);

// For weights packed once, the same for one image and for many.
ConvAlgorithm packed_algorithm(const Context& ctx, const Conv2dGeom& g, bool bf16);

// One algorithm by name: false, with nothing written, where it cannot do the case. What conv2d.h's functions
// call, and what tests and benchmarks compare. The batch is not empty.
template <class T>
bool conv2d_forward_by(
    ConvAlgorithm, Context&, const Conv2dGeom&, const T* x, const float* w, const float* bias, T* y);
template <class T>
bool conv2d_backward_input_by(
    ConvAlgorithm, Context&, const Conv2dGeom&, const T* dy, const float* w, T* dx, Write);
template <class T>
bool conv2d_backward_weight_by(
    ConvAlgorithm, Context&, const Conv2dGeom&, const T* x, const T* dy, float* dw, Write);

}  // namespace offramp::cpu
