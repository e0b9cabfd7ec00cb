#include "attacks/query/in_process.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "attacks/query/cpu_pin.h"
#include "base/errors.h"

namespace offramp::attacks {
namespace {

// Samples first .. first + count - 1 in memory of their own.
Tensor slice(const Tensor& images, int first, int count) {
  const Shape& all = images.shape();
  const Shape shape = all.rank() == 4 ? Shape{count, all.c(), all.h(), all.w()} : Shape{count, all[1]};
  const Tensor part = Tensor::empty(shape, images.device());
  const std::size_t image_bytes = images.bytes() / static_cast<std::size_t>(all[0]);
  Tensor writable = part;
  images.device().copy(
      writable.raw(),
      static_cast<const std::byte*>(images.raw()) + static_cast<std::size_t>(first) * image_bytes,
      static_cast<std::size_t>(count) * image_bytes);
  return part;
}

}  // namespace

InProcessBlackBox::InProcessBlackBox(VictimFunction victim, int classes, InProcessOptions options)
    : victim_(std::move(victim)), classes_(classes), options_(options) {
  if (!victim_ || classes < 2 || options.warm_up < 0 || options.untimed_batch < 1)
    throw ValueError(
        "InProcessBlackBox: needs a victim, at least 2 classes, warm_up >= 0, untimed_batch >= 1");
}

Answer InProcessBlackBox::query(const Tensor& images, Timing timing) {
  if (!images || (images.shape().rank() != 4 && images.shape().rank() != 2) ||
      images.dtype() != DType::kFloat32)
    throw ShapeError("query: images must be float32 [n,c,h,w], rows of features [n,d], got " +
                     (images ? images.shape().to_string() : std::string("nothing")));
  const int n = static_cast<int>(images.shape()[0]);
  const std::size_t width = static_cast<std::size_t>(classes_);
  std::vector<float> values(static_cast<std::size_t>(n) * width);
  const auto rows = [&](int first, int count) {
    return std::span(values).subspan(static_cast<std::size_t>(first) * width,
                                     static_cast<std::size_t>(count) * width);
  };

  Answer answer;
  if (timing == Timing::kNone) {
    for (int first = 0; first < n; first += options_.untimed_batch) {
      const int count = std::min(options_.untimed_batch, n - first);
      victim_(slice(images, first, count), rows(first, count));
    }
  } else {
    const CpuPin pin(options_.cpu);
    answer.nanoseconds.reserve(static_cast<std::size_t>(n));
    for (int w = 0; n > 0 && w < options_.warm_up; ++w) victim_(slice(images, w % n, 1), rows(w % n, 1));
    for (int i = 0; i < n; ++i) {
      const Tensor one = slice(images, i, 1);
      const auto start = std::chrono::steady_clock::now();
      victim_(one, rows(i, 1));
      const auto stop = std::chrono::steady_clock::now();
      answer.nanoseconds.push_back(std::chrono::nanoseconds(stop - start).count());
    }
  }
  answer.probabilities = Tensor::from<float>({n, classes_}, values, Device::cpu());
  answer.labels = labels_of(answer.probabilities);
  return answer;
}

}  // namespace offramp::attacks
