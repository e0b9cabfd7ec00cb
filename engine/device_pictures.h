#pragma once
// The pictures of a data set in the memory of a CUDA device: a batch is made there, augmented, from the numbers of its
// samples (kernels/cuda/augment.h), so that a step uploads a few hundred bytes and a captured one makes its own inputs.
#include <cstdint>
#include <span>

#include "engine/tensor.h"
#include "kernels/philox.h"

namespace offramp {

class DevicePictures {
 public:
  struct Form {
    int n = 0, h = 0, w = 0, c = 0;
    bool flip = false;  // of the augmentation, as in nets/data/augment.h
    int crop_pad = 0;
    bool colour_jitter = false;
    PhiloxKey key{};  // its seed and stream
  };
  // Whether so many bytes may lie on `device` for good: it is a CUDA device, and they are at most a quarter of it.
  static bool fit(std::size_t bytes, const Device& device);

  // pixels: [n,h,w,c]. Throws ValueError on a CPU device, ShapeError where the pixels are not as many.
  DevicePictures(std::span<const std::uint8_t> pixels, const Form& form, const Device& device);

  // places: [m + 1] int32 on the device, m samples of 0..n-1 and then the epoch, which chooses the augmentation; they
  // are not checked. Gives [m,c,h,w] in [0,1]. Launches alone: a captured step may do it.
  Tensor batch(const Tensor& places) const;

 private:
  Form form_;
  Tensor pixels_;  // [n,c,h,w] uint8
};

}  // namespace offramp
