#include "attacks/evasion/images.h"

#include <algorithm>
#include <string>

#include "base/errors.h"

namespace offramp::attacks::evasion {

void check(const Images& images, int classes) {
  if (images.n <= 0) throw ValueError("evade: expected at least one image, got none");
  const auto n = static_cast<std::size_t>(images.n);
  if (images.pixels.size() != n * images.size() || images.labels.size() != n || images.numbers.size() != n) {
    throw DataError("evade: expected " + std::to_string(images.n) + " images of " +
                    nets::to_string(images.extent) + " with labels and numbers, got " +
                    std::to_string(images.pixels.size()) + " values, " +
                    std::to_string(images.labels.size()) + " labels and " +
                    std::to_string(images.numbers.size()) + " numbers");
  }
  for (int i = 0; i < images.n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    for (const float v : images.image(i)) {
      if (!(v >= 0.f && v <= 1.f)) {
        throw DataError("evade: expected pixels in [0,1], image " + std::to_string(images.numbers[at]) +
                        " has " + std::to_string(v));
      }
    }
    if (images.labels[at] < 0 || images.labels[at] >= classes) {
      throw DataError("evade: expected labels in 0.." + std::to_string(classes - 1) + ", image " +
                      std::to_string(images.numbers[at]) + " has " + std::to_string(images.labels[at]));
    }
  }
}

Images chosen(const Images& images, std::span<const int> rows) {
  Images out{
      .n = static_cast<int>(rows.size()), .extent = images.extent, .pixels = {}, .labels = {}, .numbers = {}};
  for (const int row : rows) {
    const auto pixels = images.image(row);
    out.pixels.insert(out.pixels.end(), pixels.begin(), pixels.end());
    out.labels.push_back(images.labels[static_cast<std::size_t>(row)]);
    out.numbers.push_back(images.numbers[static_cast<std::size_t>(row)]);
  }
  return out;
}

Images part(const Images& images, int first, int count) {
  std::vector<int> rows;
  for (int i = first; i < std::min(images.n, first + count); ++i) rows.push_back(i);
  return chosen(images, rows);
}

Tensor tensor_of(const Images& images, const Device& device) {
  const nets::Extent& e = images.extent;
  const Shape shape = e.h == 1 && e.w == 1 ? Shape{images.n, e.c} : Shape{images.n, e.c, e.h, e.w};
  return Tensor::from<float>(shape, images.pixels, device);
}

Images images_of(nets::BatchSource& source, const nets::Extent& extent) {
  Images out{.n = 0, .extent = extent, .pixels = {}, .labels = {}, .numbers = {}};
  source.start(1, 0);
  for (int b = 0; b < source.batches(); ++b) {
    const nets::Batch batch = source.next();
    const std::vector<float> pixels = batch.inputs.to_host<float>();
    const std::vector<std::int32_t> labels = batch.labels.to_host<std::int32_t>();
    out.pixels.insert(out.pixels.end(), pixels.begin(), pixels.end());
    out.labels.insert(out.labels.end(), labels.begin(), labels.end());
    out.numbers.insert(out.numbers.end(), batch.indices.begin(), batch.indices.end());
    out.n += static_cast<int>(labels.size());
  }
  return out;
}

void ImagesSource::start(int, int first_batch) { next_ = first_batch; }

nets::Batch ImagesSource::next() {
  const Images batch = part(images_, next_++ * batch_, batch_);
  std::vector<std::int32_t> indices;
  for (const std::int64_t number : batch.numbers) indices.push_back(static_cast<std::int32_t>(number));
  return {tensor_of(batch, device_),
          Tensor::from<std::int32_t>({batch.n}, batch.labels, device_),
          std::move(indices)};
}

}  // namespace offramp::attacks::evasion
