#include "nets/data/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "nets/data/data_error.h"
#include "nets/data/families.h"
#include "nets/data/streams.h"

namespace offramp::data {
namespace {

template <class T>
const std::array<T, 256>& unit_table() {
  static const std::array<T, 256> table = [] {
    std::array<T, 256> t;
    for (int i = 0; i < 256; ++i) t[static_cast<std::size_t>(i)] = T(static_cast<float>(i) / 255.0f);
    return t;
  }();
  return table;
}

template <class T>
void flip_and_crop(const ImageView& in, bool flip, int top, int left, T* out) {
  const auto& unit_of = unit_table<T>();
  const int c = in.c;
  for (int y = 0; y < in.h; ++y, out += static_cast<std::ptrdiff_t>(in.w) * c) {
    const int sy = y + top;
    if (sy < 0 || sy >= in.h) {
      std::fill_n(out, in.w * c, T(0.f));
      continue;
    }
    const std::uint8_t* row = in.pixels + static_cast<std::ptrdiff_t>(sy) * in.w * c;
    for (int x = 0; x < in.w; ++x) {
      const int sx = x + left;
      if (sx < 0 || sx >= in.w) {
        std::fill_n(out + x * c, c, T(0.f));
        continue;
      }
      const std::uint8_t* pixel = row + (flip ? in.w - 1 - sx : sx) * c;
      for (int ch = 0; ch < c; ++ch) out[x * c + ch] = unit_of[pixel[ch]];
    }
  }
}

float clamp01(float v) { return std::min(std::max(v, 0.f), 1.f); }
float grey_of(const float* p, int c) {
  return c == 1 ? p[0] : (0.299f * p[0] + 0.587f * p[1]) + 0.114f * p[2];
}

void brightness(std::span<float> v, float b) {
  for (float& x : v) x = clamp01(x * b);
}

void contrast(std::span<float> v, int c, float factor) {
  std::int64_t sum = 0;
  const std::size_t step = static_cast<std::size_t>(c);
  for (std::size_t i = 0; i < v.size(); i += step)
    sum += static_cast<std::int64_t>(std::floor(static_cast<double>(grey_of(&v[i], c)) * 65536 + 0.5));
  const auto mean =
      static_cast<float>(static_cast<double>(sum) / (65536.0 * static_cast<double>(v.size() / step)));
  const float rest = (1 - factor) * mean;
  for (float& x : v) x = clamp01(factor * x + rest);
}

void saturation(std::span<float> v, int c, float factor) {
  const std::size_t step = static_cast<std::size_t>(c);
  for (std::size_t i = 0; i < v.size(); i += step) {
    const float rest = (1 - factor) * grey_of(&v[i], c);
    for (std::size_t ch = 0; ch < step; ++ch) v[i + ch] = clamp01(factor * v[i + ch] + rest);
  }
}

void jitter(std::span<float> v, int c, const PhiloxBlock& words) {
  constexpr int kOrders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (const int what : kOrders[below(words.v[3], 6)]) {
    const float factor = 0.8f + 0.4f * unit(words.v[what]);
    if (what == 0) brightness(v, factor);
    if (what == 1) contrast(v, c, factor);
    if (what == 2) saturation(v, c, factor);
  }
}

}  // namespace

Augmentation recommended_augmentation(const ImageSet& set) {
  const auto row = std::ranges::find(families(), set.family, &Family::name);
  return row == families().end() || row->augmentation == nullptr ? Augmentation{} : row->augmentation(set.h);
}

template <class T>
void augment(const ImageView& in,
             const Augmentation& options,
             std::uint64_t seed,
             std::uint32_t epoch,
             std::int32_t index,
             T* out) {
  if (options.crop_pad < 0)
    throw DataError("augment: expected crop_pad >= 0, found " + std::to_string(options.crop_pad));
  const auto sample = static_cast<std::uint64_t>(index);
  const PhiloxBlock words =
      PhiloxKey{.seed = seed, .stream = kAugmentStream, .op = 0, .step = epoch}.block(sample);
  const bool flip = options.flip && (words.v[0] >> 31) != 0;
  const auto places = static_cast<std::uint32_t>(2 * options.crop_pad + 1);
  const int top = static_cast<int>(below(words.v[1], places)) - options.crop_pad,
            left = static_cast<int>(below(words.v[2], places)) - options.crop_pad;
  if (!options.colour_jitter) {
    flip_and_crop(in, flip, top, left, out);
    return;
  }
  std::vector<float> values(static_cast<std::size_t>(in.h) * static_cast<std::size_t>(in.w * in.c));
  flip_and_crop(in, flip, top, left, values.data());
  jitter(
      values, in.c, PhiloxKey{.seed = seed, .stream = kAugmentStream, .op = 1, .step = epoch}.block(sample));
  for (std::size_t i = 0; i < values.size(); ++i) out[i] = T(values[i]);
}

template <class T>
void to_unit_range(std::span<const std::uint8_t> in, T* out) {
  const auto& unit_of = unit_table<T>();
  for (const std::uint8_t v : in) *out++ = unit_of[v];
}

template void augment(
    const ImageView&, const Augmentation&, std::uint64_t, std::uint32_t, std::int32_t, float*);
template void augment(
    const ImageView&, const Augmentation&, std::uint64_t, std::uint32_t, std::int32_t, bf16*);
template void to_unit_range(std::span<const std::uint8_t>, float*);
template void to_unit_range(std::span<const std::uint8_t>, bf16*);

}  // namespace offramp::data
