#pragma once
// Augmentation of one picture (training.md section 1), exact to the bit, so that a twin on a GPU can be
// checked by equality. The result is a pure function of (pixels, options, seed, epoch, index).
//
// Random words: k(op) = PhiloxKey{seed, kAugmentStream, op, step = epoch}.block(index), index = position in
// the full set. With w = k(0).v:
//   flip  = options.flip and the top bit of w[0] is 1                      (probability .5)
//   dy    = below(w[1], 2 * pad + 1), dx = below(w[2], 2 * pad + 1)        (0 .. 2 * pad; pad = 0 gives 0)
// Geometry: mirror left to right if flip, then crop h x w from the picture with `pad` zeros on all sides:
//   sy = y + dy - pad, sx = x + dx - pad, out[y,x] = 0 outside 0 <= sy < h, 0 <= sx < w, else
//   in[sy, flip ? w - 1 - sx : sx]
// Values: float(byte) / 255.0f, correctly rounded.
// Colour jitter (after the crop, zeros included), with j = k(1).v and factor(v) = 0.8f + 0.4f * unit(v):
//   brightness b = factor(j[0]), contrast c = factor(j[1]), saturation s = factor(j[2]); their order is
//   permutation number below(j[3], 6) of (b c s), (b s c), (c b s), (c s b), (s b c), (s c b). clamp01(v) =
//   min(max(v, 0), 1); grey = (0.299f * r + 0.587f * g) + 0.114f * b (one channel: the value itself);
//   brightness: v = clamp01(v * b)
//   contrast:   v = clamp01(c * v + (1 - c) * m),
//               m = float(sum over pixels of floor(double(grey) * 65536 + 0.5) / (65536.0 * h * w)):
//               the sum is over integers, so its order does not matter
//   saturation: v = clamp01(s * v + (1 - s) * grey of the pixel)
// All in float32, each operation rounded by itself (no fused multiply-add). bf16 is rounded once, at the end.
#include <cstdint>
#include <span>
#include <string>

#include "kernels/bf16.h"
#include "nets/data/image_set.h"

namespace offramp::data {

struct Augmentation {
  bool flip = false;
  int crop_pad = 0;
  bool colour_jitter = false;
};

// training.md section 1: CIFAR flip and pad 4; Tiny ImageNet flip, pad 8 at 64 pixels (side / 8), jitter;
// GTSRB and SVHN pad 4 without flip (labels depend on orientation); Fashion-MNIST flip and pad 4; anything
// else none.
Augmentation recommended_augmentation(const ImageSet& set);

// in: [h,w,c] bytes, out: [h,w,c] values in [0,1]. T: float, bf16. Throws DataError unless 0 <= crop_pad.
struct ImageView {
  const std::uint8_t* pixels;
  int h, w, c;
};
template <class T>
void augment(const ImageView& in,
             const Augmentation& options,
             std::uint64_t seed,
             std::uint32_t epoch,
             std::int32_t index,
             T* out);
// The picture as it is: float(byte) / 255.0f.
template <class T>
void to_unit_range(std::span<const std::uint8_t> in, T* out);

}  // namespace offramp::data
