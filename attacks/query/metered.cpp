#include "attacks/query/metered.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "attacks/query/trace.h"
#include "base/errors.h"
#include "base/safetensors.h"

namespace offramp::attacks {
namespace {

template <class T>
std::vector<T> column(const safetensors::Reader& file,
                      const char* name,
                      safetensors::Dtype dtype,
                      std::vector<std::int64_t> shape) {
  const auto bytes = file.bytes(file.expect(name, dtype, shape));
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace

MeteredBlackBox::MeteredBlackBox(BlackBox& victim, std::int64_t budget, std::filesystem::path file)
    : victim_(victim), budget_(budget), file_(std::move(file)) {
  if (budget < 1)
    throw ValueError("queries: a budget of at least 1 is wanted, got " + std::to_string(budget));
  if (file_.empty() || !std::filesystem::exists(file_)) return;
  const safetensors::Reader log(file_);
  const safetensors::Entry* kept = log.find("fingerprints");
  if (kept == nullptr || kept->shape.size() != 1)
    throw FileError(file_.string(), "is no log of queries: no list of fingerprints");
  const std::int64_t n = kept->shape[0];
  fingerprints_ = column<std::uint64_t>(log, "fingerprints", safetensors::Dtype::kU64, {n});
  probabilities_ = column<float>(log, "probabilities", safetensors::Dtype::kF32, {n, classes()});
  on_disk_ = fingerprints_.size();
}

Answer MeteredBlackBox::query(const Tensor& images, Timing) {
  const std::int64_t n = images.shape()[0];
  if (n > left())
    throw ValueError("queries: " + std::to_string(n) + " more are wanted, " + std::to_string(left()) +
                     " of " + std::to_string(budget_) + " are left");
  const auto width = static_cast<std::size_t>(classes());
  const auto pixels = images.to_host<float>();
  const std::size_t size = n > 0 ? pixels.size() / static_cast<std::size_t>(n) : 0;
  std::vector<std::uint64_t> prints;
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i)
    prints.push_back(fingerprint(std::span(pixels).subspan(i * size, size)));

  const auto first = static_cast<std::size_t>(spent_), end = first + static_cast<std::size_t>(n);
  const std::size_t known = std::clamp(fingerprints_.size(), first, end);
  for (std::size_t i = first; i < known; ++i)
    if (fingerprints_[i] != prints[i - first])
      throw FileError(file_.string(),
                      "query " + std::to_string(i) + " was another image: the log belongs to another run");
  if (known < end) {
    const std::vector<float> rest(pixels.begin() + static_cast<std::ptrdiff_t>((known - first) * size),
                                  pixels.end());
    Shape shape = images.shape();
    const Answer fresh =
        known == first
            ? victim_.query(images, Timing::kNone)
            : victim_.query(Tensor::from<float>(
                                {static_cast<std::int64_t>(end - known), shape.c(), shape.h(), shape.w()},
                                rest,
                                images.device()),
                            Timing::kNone);
    const auto values = fresh.probabilities.to_host<float>();
    probabilities_.insert(probabilities_.end(), values.begin(), values.end());
    fingerprints_.insert(
        fingerprints_.end(), prints.begin() + static_cast<std::ptrdiff_t>(known - first), prints.end());
  }
  spent_ += n;
  // A quarter more each time: all writes together cost a few times the last one.
  if (fingerprints_.size() - on_disk_ >= std::max<std::size_t>(2048, on_disk_ / 4)) flush();

  Answer answer;
  answer.probabilities = Tensor::from<float>(
      {n, static_cast<std::int64_t>(width)},
      std::span<const float>(probabilities_).subspan(first * width, static_cast<std::size_t>(n) * width),
      Device::cpu());
  answer.labels = labels_of(answer.probabilities);
  return answer;
}

void MeteredBlackBox::flush() {
  if (file_.empty() || on_disk_ == fingerprints_.size()) return;
  const auto n = static_cast<std::int64_t>(fingerprints_.size());
  const std::array<safetensors::Source, 2> sources{
      {{"fingerprints", safetensors::Dtype::kU64, {n}, std::as_bytes(std::span(fingerprints_))},
       {"probabilities",
        safetensors::Dtype::kF32,
        {n, classes()},
        std::as_bytes(std::span(probabilities_))}}};
  safetensors::write(file_, sources);
  on_disk_ = fingerprints_.size();
}

}  // namespace offramp::attacks
