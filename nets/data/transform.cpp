#include "nets/data/transform.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "nets/data/data_error.h"
#include "nets/data/families.h"

namespace offramp::data {
namespace {

ImageSet like(const ImageSet& set, int h, int w, int c, const std::string& done) {
  ImageSet out{.n = set.n, .h = h, .w = w, .c = c};
  out.labels = set.labels;
  out.class_names = set.class_names;
  out.family = set.family;
  out.source = set.source + ", " + done;
  out.padded = set.padded;
  out.squashed = set.squashed;
  out.pixels.resize(static_cast<std::size_t>(out.n) * out.image_bytes());
  return out;
}

// out is [h + 2 * border, w + 2 * border, c], zeroed.
void pad(const std::uint8_t* in, int h, int w, int c, int border, std::uint8_t* out) {
  const std::size_t in_row = static_cast<std::size_t>(w) * static_cast<std::size_t>(c),
                    out_row = static_cast<std::size_t>(w + 2 * border) * static_cast<std::size_t>(c),
                    left = static_cast<std::size_t>(border) * static_cast<std::size_t>(c);
  for (int y = 0; y < h; ++y)
    std::copy_n(in + static_cast<std::size_t>(y) * in_row,
                in_row,
                out + static_cast<std::size_t>(y + border) * out_row + left);
}

// PIL's "L", which rounds the same way.
std::uint8_t luma_of(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 0x8000u) >> 16);
}

void mean2x2(const std::uint8_t* in, int h, int w, int c, std::uint8_t* out) {
  const std::size_t row = static_cast<std::size_t>(w) * static_cast<std::size_t>(c);
  for (int y = 0; y < h / 2; ++y)
    for (int x = 0; x < w / 2; ++x)
      for (int ch = 0; ch < c; ++ch) {
        const std::uint8_t* p =
            in + 2 * static_cast<std::size_t>(y) * row + static_cast<std::size_t>(2 * x * c + ch);
        *out++ =
            static_cast<std::uint8_t>((p[0] + p[c] + p[row] + p[row + static_cast<std::size_t>(c)] + 2) / 4);
      }
}

// Weights of the source pixels first .. first + weight.size() - 1 for one target pixel.
struct Taps {
  int first;
  std::vector<double> weight;
};

std::vector<Taps> triangle_taps(int from, int to) {
  const double scale = static_cast<double>(from) / to, width = std::max(1.0, scale);
  std::vector<Taps> all;
  for (int i = 0; i < to; ++i) {
    const double centre = (i + .5) * scale;
    const int low = std::max(0, static_cast<int>(std::floor(centre - width))),
              high = std::min(from - 1, static_cast<int>(std::ceil(centre + width)));
    Taps taps{low, {}};
    double sum = 0;
    for (int s = low; s <= high; ++s) {
      taps.weight.push_back(std::max(0.0, 1 - std::abs((s + .5 - centre) / width)));
      sum += taps.weight.back();
    }
    for (double& weight : taps.weight) weight /= sum;
    all.push_back(std::move(taps));
  }
  return all;
}

void bilinear(const std::uint8_t* in,
              int w,
              int c,
              const std::vector<Taps>& rows,
              const std::vector<Taps>& cols,
              std::uint8_t* out) {
  for (const Taps& ty : rows)
    for (const Taps& tx : cols)
      for (int ch = 0; ch < c; ++ch) {
        double sum = 0;
        for (std::size_t a = 0; a < ty.weight.size(); ++a)
          for (std::size_t b = 0; b < tx.weight.size(); ++b) {
            const std::size_t y = static_cast<std::size_t>(ty.first) + a,
                              x = static_cast<std::size_t>(tx.first) + b;
            sum += ty.weight[a] * tx.weight[b] *
                   in[(y * static_cast<std::size_t>(w) + x) * static_cast<std::size_t>(c) +
                      static_cast<std::size_t>(ch)];
          }
        *out++ = static_cast<std::uint8_t>(std::clamp(std::floor(sum + .5), 0.0, 255.0));
      }
}

void check_size(int h, int w) {
  if (h < 1 || w < 1)
    throw DataError("resize: expected a size of at least 1x1, found " + std::to_string(h) + "x" +
                    std::to_string(w));
}

}  // namespace

// Pictures of 28 x 28 (MNIST and its kin) are padded to 32 x 32, not scaled (training.md section 1). Sets and
// single pictures follow one rule, so that a net meets in use what it was trained on.
bool is_padded(int h, int w, int side) { return h == 28 && w == 28 && side == 28 + 2 * kPadding; }

ImageSet pad_zero(const ImageSet& set, int border) {
  if (border < 0) throw DataError("pad: expected a border >= 0, found " + std::to_string(border));
  ImageSet out =
      like(set, set.h + 2 * border, set.w + 2 * border, set.c, "zero-padded by " + std::to_string(border));
  for (int i = 0; i < set.n; ++i) pad(set.image(i).data(), set.h, set.w, set.c, border, out.image(i).data());
  return out;
}

Picture pad_zero(const Picture& picture, int border) {
  if (border < 0) throw DataError("pad: expected a border >= 0, found " + std::to_string(border));
  Picture out{.h = picture.h + 2 * border, .w = picture.w + 2 * border, .c = picture.c};
  out.pixels.resize(static_cast<std::size_t>(out.h) * static_cast<std::size_t>(out.w * out.c));
  pad(picture.pixels.data(), picture.h, picture.w, picture.c, border, out.pixels.data());
  return out;
}

ImageSet grey_to_rgb(const ImageSet& set) {
  if (set.c == 3) return set;
  ImageSet out = like(set, set.h, set.w, 3, "grey to RGB");
  for (std::size_t i = 0; i < set.pixels.size(); ++i)
    for (std::size_t ch = 0; ch < 3; ++ch) out.pixels[3 * i + ch] = set.pixels[i];
  return out;
}

ImageSet rgb_to_grey(const ImageSet& set) {
  if (set.c == 1) return set;
  ImageSet out = like(set, set.h, set.w, 1, "RGB to grey");
  for (std::size_t i = 0; i < out.pixels.size(); ++i) out.pixels[i] = luma_of(&set.pixels[3 * i]);
  return out;
}

Picture to_grey(Picture picture) {
  if (picture.c == 1) return picture;
  std::vector<std::uint8_t> grey(picture.pixels.size() / 3);
  for (std::size_t i = 0; i < grey.size(); ++i) grey[i] = luma_of(&picture.pixels[3 * i]);
  picture.pixels = std::move(grey);
  picture.c = 1;
  return picture;
}

bool is_grey(const ImageSet& set) {
  if (set.c == 1) return true;
  for (std::size_t i = 0; i + 2 < set.pixels.size(); i += 3)
    if (set.pixels[i] != set.pixels[i + 1] || set.pixels[i] != set.pixels[i + 2]) return false;
  return true;
}

ImageSet resize_mean2x2(const ImageSet& set) {
  if (set.h % 2 != 0 || set.w % 2 != 0)
    throw DataError("resize: a 2x2 mean wants even sizes, found " + std::to_string(set.h) + "x" +
                    std::to_string(set.w));
  ImageSet out = like(set, set.h / 2, set.w / 2, set.c, "2x2 mean");
  for (int i = 0; i < set.n; ++i) mean2x2(set.image(i).data(), set.h, set.w, set.c, out.image(i).data());
  return out;
}

ImageSet resize_bilinear(const ImageSet& set, int height, int width) {
  check_size(height, width);
  ImageSet out =
      like(set, height, width, set.c, "bilinear to " + std::to_string(height) + "x" + std::to_string(width));
  const auto rows = triangle_taps(set.h, height), cols = triangle_taps(set.w, width);
  for (int i = 0; i < set.n; ++i)
    bilinear(set.image(i).data(), set.w, set.c, rows, cols, out.image(i).data());
  return out;
}

Picture resize_bilinear(const Picture& picture, int height, int width) {
  check_size(height, width);
  Picture out{.h = height, .w = width, .c = picture.c};
  out.pixels.resize(static_cast<std::size_t>(height) * static_cast<std::size_t>(width * picture.c));
  bilinear(picture.pixels.data(),
           picture.w,
           picture.c,
           triangle_taps(picture.h, height),
           triangle_taps(picture.w, width),
           out.pixels.data());
  return out;
}

ImageSet resize_to(const ImageSet& set, int side) {
  if (set.h == side && set.w == side) return set;
  if (is_padded(set.h, set.w, side)) {
    ImageSet out = pad_zero(set, kPadding);
    out.padded = out.n;
    return out;
  }
  if (set.h == 2 * side && set.w == 2 * side) return resize_mean2x2(set);
  ImageSet out = resize_bilinear(set, side, side);
  if (set.h != set.w) out.squashed = out.n;
  return out;
}

Picture resize_to(const Picture& picture, int side) {
  if (picture.h == side && picture.w == side) return picture;
  if (is_padded(picture.h, picture.w, side)) return pad_zero(picture, kPadding);
  if (picture.h != 2 * side || picture.w != 2 * side) return resize_bilinear(picture, side, side);
  Picture out{.h = side, .w = side, .c = picture.c};
  out.pixels.resize(static_cast<std::size_t>(side) * static_cast<std::size_t>(side * picture.c));
  mean2x2(picture.pixels.data(), picture.h, picture.w, picture.c, out.pixels.data());
  return out;
}

Normalisation compute_normalisation(const ImageSet& set, std::span<const std::int32_t> of) {
  if (set.n == 0) throw DataError("normalisation: expected at least one image, found none");
  std::array<std::uint64_t, 3> sum{}, squares{};
  const std::size_t c = static_cast<std::size_t>(set.c),
                    images = of.empty() ? static_cast<std::size_t>(set.n) : of.size(),
                    pixels = static_cast<std::size_t>(set.h) * static_cast<std::size_t>(set.w),
                    count = images * pixels;
  for (std::size_t image = 0; image < images; ++image) {
    const std::uint8_t* at =
        set.pixels.data() + (of.empty() ? image : static_cast<std::size_t>(of[image])) * pixels * c;
    for (std::size_t i = 0; i < pixels; ++i)
      for (std::size_t ch = 0; ch < c; ++ch) {
        const std::uint64_t v = *at++;
        sum[ch] += v;
        squares[ch] += v * v;
      }
  }
  Normalisation out;
  for (std::size_t ch = 0; ch < c; ++ch) {
    const double mean = static_cast<double>(sum[ch]) / static_cast<double>(count),
                 variance = static_cast<double>(squares[ch]) / static_cast<double>(count) - mean * mean;
    out.mean.push_back(static_cast<float>(mean / 255));
    out.std.push_back(static_cast<float>(std::sqrt(std::max(variance, 0.0)) / 255));
  }
  out.source = "computed on " + std::to_string(images) + " images";
  return out;
}

std::optional<Normalisation> published_normalisation(const std::string& family) {
  const auto row = std::ranges::find(families(), family, &Family::name);
  return row == families().end() || row->normalisation == nullptr ? std::nullopt : row->normalisation();
}

Normalisation recommended_normalisation(const ImageSet& train, std::span<const std::int32_t> of) {
  auto published = published_normalisation(train.family);
  if (published && train.c == 3) return *published;
  Normalisation out = compute_normalisation(train, of);
  for (float& s : out.std)
    if (s == 0) s = 1;  // a constant channel: nothing to scale
  return out;
}

}  // namespace offramp::data
