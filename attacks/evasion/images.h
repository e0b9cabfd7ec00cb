#pragma once
// Images under attack, on the host: pixels in [0,1] in the memory order of the engine (N,H,W,C), with the true label and
// the number of each in its set. The number keys a sample's random start, so that its result does not depend on
// which others are attacked beside it.
#include <cstdint>
#include <span>
#include <vector>

#include "engine/tensor.h"
#include "nets/graph/layers.h"
#include "nets/training/batch_source.h"

namespace offramp::attacks::evasion {

struct Images {
  int n = 0;
  nets::Extent extent;                // of one image
  std::vector<float> pixels;          // [n, h, w, c]
  std::vector<std::int32_t> labels;   // [n]
  std::vector<std::int64_t> numbers;  // [n]

  std::size_t size() const {  // values of one image
    return static_cast<std::size_t>(extent.c) * static_cast<std::size_t>(extent.h) *
           static_cast<std::size_t>(extent.w);
  }
  std::span<const float> image(int i) const {
    return {pixels.data() + static_cast<std::size_t>(i) * size(), size()};
  }
  std::span<float> image(int i) { return {pixels.data() + static_cast<std::size_t>(i) * size(), size()}; }
};

// Throws DataError, naming the image: sizes that disagree, a value outside [0,1] or not a number, a label outside
// 0..classes-1; ValueError: no images.
void check(const Images& images, int classes);

// Images first .. first + count - 1.
Images part(const Images& images, int first, int count);
// Those at `rows`, in that order.
Images chosen(const Images& images, std::span<const int> rows);
// The pixels as the nets take them: [n,c,h,w], or [n,c] for rows of features.
Tensor tensor_of(const Images& images, const Device& device);

// One epoch of a source, as it comes.
Images images_of(nets::BatchSource& source, const nets::Extent& extent);

// Images as a source: what evaluations take. The images must outlive it.
class ImagesSource final : public nets::BatchSource {
 public:
  ImagesSource(const Images& images, const Device& device, int batch)
      : images_(images), device_(device), batch_(batch) {}
  int samples() const override { return images_.n; }
  int batches() const override { return (images_.n + batch_ - 1) / batch_; }
  void start(int epoch, int first_batch) override;
  nets::Batch next() override;

 private:
  const Images& images_;
  Device device_;
  int batch_, next_ = 0;
};

}  // namespace offramp::attacks::evasion
