#include "engine/device_pictures.h"

#include "base/errors.h"
#include "engine/ops/check.h"

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/augment.h"
#include "kernels/cuda/context.h"
#endif

namespace offramp {

bool DevicePictures::fit([[maybe_unused]] std::size_t bytes, const Device& device) {
  if (device.kind() != DeviceKind::kCuda) return false;
#if OFFRAMP_HAS_CUDA
  return bytes <= device.cuda_context().properties().memory_bytes / 4;
#else
  return false;
#endif
}

DevicePictures::DevicePictures(std::span<const std::uint8_t> pixels, const Form& form, const Device& device)
    : form_(form) {
  if (device.kind() != DeviceKind::kCuda) {
    throw ValueError(std::string("device pictures: expected a cuda device, got ") + device.name());
  }
  const Shape shape{form.n, form.c, form.h, form.w};
  if (pixels.size() != static_cast<std::size_t>(shape.size())) {
    throw ShapeError("device pictures: expected " + std::to_string(shape.size()) + " bytes for " +
                     shape.to_string() + ", got " + std::to_string(pixels.size()));
  }
  pixels_ = Tensor::empty(shape, device, DType::kUInt8, "the data set's pictures");
  device.upload(pixels_.raw(), pixels.data(), pixels.size());
}

Tensor DevicePictures::batch(const Tensor& places) const {
  check::rank("device pictures", "places", places, 1);
  const int m = places.shape().n() - 1;
  Tensor y =
      Tensor::empty({m, form_.c, form_.h, form_.w}, pixels_.device(), DType::kFloat32, "a batch of pictures");
#if OFFRAMP_HAS_CUDA
  const auto* index = places.data<std::int32_t>();
  cuda::augment(pixels_.device().cuda_context(),
                cuda::AugmentBatch{.pixels = pixels_.data<std::uint8_t>(),
                                   .index = index,
                                   .n = m,
                                   .h = form_.h,
                                   .w = form_.w,
                                   .c = form_.c,
                                   .augment = form_.flip || form_.crop_pad > 0 || form_.colour_jitter,
                                   .flip = form_.flip,
                                   .crop_pad = form_.crop_pad,
                                   .colour_jitter = form_.colour_jitter,
                                   .key = form_.key,
                                   .epoch = index + m},
                y.data());
#endif
  return y;
}

}  // namespace offramp
