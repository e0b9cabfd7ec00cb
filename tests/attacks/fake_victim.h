#pragma once
// A victim whose exits and noise are known: image i carries its index in its pixels, and everything it
// answers follows from that index and a seed.
#include <cmath>
#include <cstdint>
#include <numbers>
#include <stdexcept>
#include <utility>
#include <vector>

#include "attacks/query/black_box.h"
#include "kernels/philox.h"

namespace offramp::test {

// [n,1,2,2] images; the index is written in base 256 into the pixels.
inline attacks::ImageSource numbered_images(int count) {
  return {count, [](std::span<const std::int32_t> indices) {
            std::vector<float> pixels;
            for (const auto index : indices)
              for (int byte = 0; byte < 4; ++byte)
                pixels.push_back(static_cast<float>((index >> (8 * byte)) & 255) / 255.0f);
            return Tensor::from<float>(
                {static_cast<std::int64_t>(indices.size()), 1, 2, 2}, pixels, Device::cpu());
          }};
}

inline std::vector<std::int32_t> numbers_of(const Tensor& images) {
  const auto pixels = images.to_host<float>();
  std::vector<std::int32_t> numbers(pixels.size() / 4, 0);
  for (std::size_t i = 0; i < pixels.size(); ++i)
    numbers[i / 4] |= static_cast<std::int32_t>(std::lround(pixels[i] * 255)) << (8 * (i % 4));
  return numbers;
}

struct FakeVictimOptions {
  int classes = 5, exits = 4;
  double first_ns = 100000, gap_ns = 30000, sigma_ns = 3000;
  // A machine that becomes busy: from this query on (-1: never) three of four answers take 1.4 times as long.
  std::int64_t busy_from = -1;
  // In every other stretch of so many queries (0: never), drawn by chance, all answers take 1.4 times as
  // long.
  std::int64_t spell = 0;
  bool noise_follows_the_call = false;  // false: a sample's time is the same at every query
  std::uint64_t seed = 7;
  std::int64_t dies_after = -1;  // queries; -1: never
};

class FakeVictim final : public attacks::BlackBox {
 public:
  explicit FakeVictim(FakeVictimOptions options) : options_(options) {}
  int classes() const override { return options_.classes; }
  int exit_of(std::int32_t number) const {
    return 1 + static_cast<int>(PhiloxKey{options_.seed, 1}.word(static_cast<std::uint64_t>(number)) %
                                static_cast<std::uint32_t>(options_.exits));
  }
  std::int64_t queries() const { return queries_; }

  attacks::Answer query(const Tensor& images, attacks::Timing timing) override {
    attacks::Answer answer;
    std::vector<float> values;
    for (const auto number : numbers_of(images)) {
      if (queries_ == options_.dies_after) throw std::runtime_error("the fake victim died");
      const auto id = static_cast<std::uint64_t>(number);
      float sum = 0;
      for (int c = 0; c < options_.classes; ++c) {
        values.push_back(0.01f + PhiloxKey{options_.seed, 2, static_cast<std::uint32_t>(c)}.uniform(id));
        sum += values.back();
      }
      for (int c = 0; c < options_.classes; ++c)
        values[values.size() - 1 - static_cast<std::size_t>(c)] /= sum;
      if (timing == attacks::Timing::kPerQuery) {
        const std::uint64_t draw =
            options_.noise_follows_the_call ? static_cast<std::uint64_t>(queries_) : id;
        const PhiloxKey noise{options_.seed, 3};
        const double u = 1.0 - static_cast<double>(noise.uniform(2 * draw)), v = noise.uniform(2 * draw + 1);
        const double z = std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
        const bool slow = options_.busy_from >= 0 && queries_ >= options_.busy_from &&
                          PhiloxKey{options_.seed, 4}.word(static_cast<std::uint64_t>(queries_)) % 4 != 0;
        const bool spell =
            options_.spell > 0 &&
            PhiloxKey{options_.seed, 5}.word(static_cast<std::uint64_t>(queries_ / options_.spell)) % 2 != 0;
        answer.nanoseconds.push_back(std::llround(
            (slow || spell ? 1.4 : 1.0) *
            (options_.first_ns + options_.gap_ns * (exit_of(number) - 1) + options_.sigma_ns * z)));
      }
      ++queries_;
    }
    answer.probabilities = Tensor::from<float>(
        {images.shape()[0], static_cast<std::int64_t>(options_.classes)}, values, Device::cpu());
    answer.labels = attacks::labels_of(answer.probabilities);
    return answer;
  }

 private:
  FakeVictimOptions options_;
  std::int64_t queries_ = 0;
};

}  // namespace offramp::test
