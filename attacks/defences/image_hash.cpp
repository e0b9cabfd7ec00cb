#include "attacks/defences/image_hash.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/errors.h"

namespace offramp::attacks {
namespace {

// sinc(x) sinc(x / 3) on [-3, 3]
double lanczos3(double x) {
  if (x <= -3 || x >= 3) return 0;
  const auto sinc = [](double v) {
    return v == 0 ? 1.0 : std::sin(v * std::numbers::pi) / (v * std::numbers::pi);
  };
  return sinc(x) * sinc(x / 3);
}

constexpr int kWeightBits = 22;  // of Pillow's weights: 32 - 8 - 2

// Weights of the source pixels of each of `to` pixels, in 1 / 2^22.
struct Taps {
  int first = 0;
  std::vector<int> weights;
};
std::vector<Taps> taps_of(int from, int to) {
  const double scale = static_cast<double>(from) / to, widening = std::max(1.0, scale);
  const double support = 3 * widening;
  std::vector<Taps> all(static_cast<std::size_t>(to));
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int end = std::min(from, static_cast<int>(centre + support + 0.5));
    std::vector<double> weights;
    double sum = 0;
    for (int x = first; x < end; ++x) {
      weights.push_back(lanczos3((x - centre + 0.5) / widening));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<std::size_t>(i)];
    taps.first = first;
    for (const double w : weights) {
      const double scaled = w / sum * (1 << kWeightBits);
      taps.weights.push_back(static_cast<int>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return all;
}

std::uint8_t clipped(std::int64_t sum) {
  return static_cast<std::uint8_t>(std::clamp<std::int64_t>(sum >> kWeightBits, 0, 255));
}

// One pass along rows (stride 1) or columns.
std::vector<std::uint8_t> resized_rows(std::span<const std::uint8_t> from, int rows, int width, int to) {
  if (width == to) return {from.begin(), from.end()};
  const std::vector<Taps> taps = taps_of(width, to);
  std::vector<std::uint8_t> result;
  result.reserve(static_cast<std::size_t>(rows) * static_cast<std::size_t>(to));
  for (int y = 0; y < rows; ++y) {
    const auto row = from.subspan(static_cast<std::size_t>(y) * static_cast<std::size_t>(width));
    for (const Taps& t : taps) {
      std::int64_t sum = 1 << (kWeightBits - 1);
      for (std::size_t i = 0; i < t.weights.size(); ++i) {
        sum += static_cast<std::int64_t>(row[static_cast<std::size_t>(t.first) + i]) * t.weights[i];
      }
      result.push_back(clipped(sum));
    }
  }
  return result;
}

std::vector<std::uint8_t> transposed(std::span<const std::uint8_t> from, int rows, int columns) {
  std::vector<std::uint8_t> result(from.size());
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < columns; ++x) {
      result[static_cast<std::size_t>(x * rows + y)] = from[static_cast<std::size_t>(y * columns + x)];
    }
  }
  return result;
}

std::uint64_t bits_above(std::span<const double> values, double limit) {
  std::uint64_t hash = 0;
  for (const double v : values) hash = hash << 1 | static_cast<std::uint64_t>(v > limit);
  return hash;
}

void check_image(const Tensor& image) {
  if (!image || image.shape().rank() != 4 || image.shape().n() != 1 || image.dtype() != DType::kFloat32 ||
      (image.shape().c() != 1 && image.shape().c() != 3)) {
    throw ShapeError(
        "image hash: wants one float32 image of 1 or 3 channels, [1,c,h,w] (hash exact takes any), got " +
        (image ? image.shape().to_string() : std::string("nothing")));
  }
}

}  // namespace

Picture picture_of(const Tensor& image) {
  check_image(image);
  const Shape& shape = image.shape();
  Picture picture{shape.h(), shape.w(), shape.c(), {}};
  for (const float x : image.to_host<float>()) {  // memory order is row, column, channel
    picture.pixels.push_back(static_cast<std::uint8_t>(std::clamp(std::lround(x * 255.0f), 0l, 255l)));
  }
  return picture;
}

Picture picture_as_published(const Tensor& image) {
  check_image(image);
  const Shape& shape = image.shape();
  Picture picture{shape.h(), shape.w(), shape.c(), {}};
  for (const float x : image.to_nchw()) {
    picture.pixels.push_back(static_cast<std::uint8_t>(std::clamp(x * 255.0f, 0.0f, 255.0f)));
  }
  return picture;
}

std::vector<std::uint8_t> grey_pixels(const Picture& picture) {
  if (picture.channels == 1) return picture.pixels;
  std::vector<std::uint8_t> grey;
  for (std::size_t i = 0; i + 2 < picture.pixels.size(); i += 3) {
    const std::uint32_t r = picture.pixels[i], g = picture.pixels[i + 1], b = picture.pixels[i + 2];
    grey.push_back(static_cast<std::uint8_t>((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16));
  }
  return grey;
}

std::vector<std::uint8_t> resized_grey(std::span<const std::uint8_t> grey, int height, int width, int side) {
  if (height < 1 || width < 1 || side < 1 ||
      grey.size() != static_cast<std::size_t>(height) * static_cast<std::size_t>(width)) {
    throw ShapeError("image hash: " + std::to_string(grey.size()) + " pixels are no picture of " +
                     std::to_string(height) + " x " + std::to_string(width));
  }
  const std::vector<std::uint8_t> narrow = resized_rows(grey, height, width, side);
  const std::vector<std::uint8_t> turned = resized_rows(transposed(narrow, height, side), side, height, side);
  return transposed(turned, side, side);
}

std::uint64_t perceptual_hash(const Picture& picture) {
  constexpr int kSide = 32, kLow = 8;
  const std::vector<std::uint8_t> pixels =
      resized_grey(grey_pixels(picture), picture.height, picture.width, kSide);
  // X_k = 2 sum_n x_n cos(pi k (2n + 1) / (2 N)), columns first, then rows; only k < 8 is wanted.
  static const auto cosines = [] {
    std::array<std::array<double, kSide>, kLow> table{};
    for (int k = 0; k < kLow; ++k) {
      for (int n = 0; n < kSide; ++n) {
        table[static_cast<std::size_t>(k)][static_cast<std::size_t>(n)] =
            2 * std::cos(std::numbers::pi * k * (2 * n + 1) / (2 * kSide));
      }
    }
    return table;
  }();
  std::vector<double> low;
  for (const auto& down : cosines) {
    std::array<double, kSide> row{};
    for (std::size_t y = 0; y < kSide; ++y) {
      for (std::size_t x = 0; x < kSide; ++x) row[x] += down[y] * pixels[y * kSide + x];
    }
    for (const auto& across : cosines) {
      double sum = 0;
      for (std::size_t x = 0; x < kSide; ++x) sum += across[x] * row[x];
      // A symmetric picture has exact zeros, and often a median of 0: rounding must not decide its bits. Terms are up to
      // 1e6, so their rounding stays far below this, and what a picture of whole levels gives otherwise far above.
      constexpr double kRounding = 1e-7;
      low.push_back(std::abs(sum) < kRounding ? 0 : sum);
    }
  }
  std::vector<double> sorted = low;
  std::sort(sorted.begin(), sorted.end());
  return bits_above(low, (sorted[31] + sorted[32]) / 2);
}

std::uint64_t average_hash(const Picture& picture) {
  const std::vector<std::uint8_t> pixels =
      resized_grey(grey_pixels(picture), picture.height, picture.width, 8);
  const std::vector<double> values(pixels.begin(), pixels.end());
  double sum = 0;
  for (const double v : values) sum += v;
  return bits_above(values, sum / static_cast<double>(values.size()));
}

std::string hex_of(std::uint64_t hash) {
  std::string text(16, '0');
  for (std::size_t i = text.size(); i-- > 0; hash >>= 4) text[i] = "0123456789abcdef"[hash & 15];
  return text;
}

}  // namespace offramp::attacks
