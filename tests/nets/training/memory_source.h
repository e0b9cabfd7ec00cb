#pragma once
// A data set in memory for tests: classes are blobs around random centres, so that a small net learns them in
// a few steps; batches in an order that depends on the epoch alone.
#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/philox.h"
#include "nets/graph/layers.h"
#include "nets/training/batch_source.h"

namespace offramp::test {

class MemorySource final : public nets::BatchSource {
 public:
  MemorySource(const nets::Extent& input,
               int classes,
               int n,
               int batch,
               std::uint64_t seed,
               const Device& device = Device::cpu())
      : input_(input), n_(n), batch_(batch), device_(device) {
    const PhiloxKey centre{seed, 70, 0, 0}, noise{seed, 70, 1, 0};
    const auto size = static_cast<std::size_t>(input.size());
    values_.resize(static_cast<std::size_t>(n) * size);
    for (int i = 0; i < n; ++i) {
      const int label = i % classes;
      labels_.push_back(label);
      for (std::size_t j = 0; j < size; ++j) {
        const std::size_t at = static_cast<std::size_t>(i) * size + j;
        const std::size_t feature = static_cast<std::size_t>(label) * size + place(j);
        values_[at] = 0.5f * centre.uniform(feature) + 0.5f * noise.uniform(at);
      }
    }
  }
  int samples() const override { return n_; }
  int batches() const override { return (n_ + batch_ - 1) / batch_; }
  void start(int epoch, int first_batch) override {
    epoch_ = epoch;
    at_ = first_batch;
  }
  nets::Batch next() override {
    if (at_ == batches()) ++epoch_, at_ = 0;
    const int first = at_++ * batch_, m = std::min(batch_, n_ - first);
    const auto size = static_cast<std::size_t>(input_.size());
    std::vector<float> values;
    std::vector<std::int32_t> labels, indices;
    for (int i = 0; i < m; ++i) {
      // A rotation by the epoch: another order, the same samples.
      const auto sample = static_cast<std::size_t>((first + i + 7 * epoch_) % n_);
      values.insert(values.end(),
                    values_.begin() + static_cast<std::ptrdiff_t>(sample * size),
                    values_.begin() + static_cast<std::ptrdiff_t>((sample + 1) * size));
      labels.push_back(labels_[sample]);
      indices.push_back(static_cast<std::int32_t>(sample));
    }
    if (poison_epoch == epoch_ && poison_batch == at_ - 1)
      values[5] = std::numeric_limits<float>::quiet_NaN();
    const Shape shape = input_.h == 1 ? Shape{m, input_.c} : Shape{m, input_.c, input_.h, input_.w};
    return {Tensor::from<float>(shape, values, device_),
            Tensor::from<std::int32_t>({m}, labels, device_),
            std::move(indices)};
  }

  int poison_epoch = 0, poison_batch = 0;  // a NaN in one sample of that batch

 private:
  // Images are even over cells of 8x8 pixels: position of value j's cell and channel in the class centre.
  std::size_t place(std::size_t j) const {
    if (input_.h == 1) return j;
    const auto c = static_cast<std::size_t>(input_.c), w = static_cast<std::size_t>(input_.w);
    const std::size_t pixel = j / c;  // N,H,W,C in memory
    return (pixel / w / 8 * w + pixel % w / 8) * c + j % c;
  }

  nets::Extent input_;
  int n_, batch_, epoch_ = 1, at_ = 0;
  Device device_;
  std::vector<float> values_;
  std::vector<std::int32_t> labels_;
};

}  // namespace offramp::test
