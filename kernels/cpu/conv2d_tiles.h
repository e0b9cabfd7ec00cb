#pragma once
// Convolution in bf16 on the tile unit of tiles.h: channels and filters in multiples of 16, one group. All sums in float,
// in an order that depends on the geometry alone, and for activations not on the batch. Where the machine has no tiles the same
// bits come from plain code, slowly (tests).
#include "kernels/conv2d.h"
#include "kernels/cpu/conv2d_plan.h"
#include "kernels/cpu/epilogue.h"

namespace offramp::cpu::tiles {

bool available();  // this process may use the unit
bool handles(const Conv2dGeom&, ConvDirection);

// Weights packed once.
std::int64_t forward_weight_size(const Conv2dGeom&);  // values
void pack_forward_weights(const Conv2dGeom&, const float* w, bf16* packed);
void conv2d_forward_packed(
    Context&, const Conv2dGeom&, const bf16* x, const bf16* packed, const Epilogue<bf16>&);

void conv2d_forward(Context&, const Conv2dGeom&, const bf16* x, const float* w, const Epilogue<bf16>&);
void conv2d_backward_input(Context&, const Conv2dGeom&, const bf16* dy, const float* w, bf16* dx, Write);
void conv2d_backward_weight(Context&, const Conv2dGeom&, const bf16* x, const bf16* dy, float* dw, Write);

}  // namespace offramp::cpu::tiles
