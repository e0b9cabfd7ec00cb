#pragma once
// Augmentation of a batch on the device, from the bytes of the whole data set, which stay in device memory.
// The twin of nets/data/augment.h, where every step is specified, and equal to it bit for bit. Device only.
#include "kernels/backend.h"
#include "kernels/philox.h"

namespace offramp::cuda {

struct AugmentBatch {
  const std::uint8_t* pixels = nullptr;  // [total, h, w, c]
  const std::int32_t* index = nullptr;   // [n]: places of the batch in the data set
  int n = 0, h = 0, w = 0, c = 0;
  bool augment = true;  // false: the pictures as they are
  bool flip = false;
  int crop_pad = 0;
  bool colour_jitter = false;
  PhiloxKey key{};                      // seed and stream; its op is not used
  const std::int32_t* epoch = nullptr;  // in device memory; null: key.step
};

// y: [n, h, w, c] in [0, 1].
template <class T>
void augment(Context&, const AugmentBatch&, T* y);

}  // namespace offramp::cuda
