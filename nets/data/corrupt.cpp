#include "nets/data/corrupt.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>

#include "nets/data/data_error.h"
#include "nets/data/streams.h"

namespace offramp::data {
namespace {

constexpr double kStrength[2][2][5] = {{{.04, .06, .08, .09, .10}, {.04, .08, .12, .15, .18}},  // noise
                                       {{.05, .1, .15, .2, .3}, {.1, .2, .3, .4, .5}}};         // brightness

std::uint8_t to_byte(double v) {
  return static_cast<std::uint8_t>(std::clamp(v, 0.0, 1.0) * 255);
}  // truncates

// Box-Muller: element 2k and 2k+1 from the two halves of one Philox block.
void add_noise(std::span<const std::uint8_t> in, double sigma, const PhiloxKey& key, std::uint8_t* out) {
  for (std::size_t i = 0; i < in.size(); i += 2) {
    const PhiloxBlock w = key.block(i / 2);
    // (0, 1): 53 bits of the first two words, never 0.
    const double u = (static_cast<double>((std::uint64_t{w.v[0]} << 21) ^ (w.v[1] >> 11)) + .5) * 0x1p-53;
    const double angle = 2 * std::numbers::pi * (static_cast<double>(w.v[2]) * 0x1p-32);
    const double radius = std::sqrt(-2 * std::log(u));
    out[i] = to_byte(in[i] / 255. + sigma * radius * std::cos(angle));
    if (i + 1 < in.size()) out[i + 1] = to_byte(in[i + 1] / 255. + sigma * radius * std::sin(angle));
  }
}

}  // namespace

double corruption_strength(Corruption kind, CorruptionTable table, int severity) {
  if (severity < 1 || severity > 5)
    throw DataError("corrupt: expected a severity of 1..5, found " + std::to_string(severity));
  return kStrength[static_cast<int>(kind)][static_cast<int>(table)][severity - 1];
}

void brighten(std::span<double, 3> rgb, double b) {
  const double r = rgb[0], g = rgb[1], bl = rgb[2];
  const double high = std::max({r, g, bl}), delta = high - std::min({r, g, bl});
  double hue = 0;  // sixths of the circle
  if (delta > 0) {
    if (bl == high)
      hue = 4 + (r - g) / delta;
    else if (g == high)
      hue = 2 + (bl - r) / delta;
    else
      hue = (g - bl) / delta;
    if (hue < 0) hue += 6;
  }
  const double s = high > 0 ? delta / high : 0, v = std::clamp(high + b, 0.0, 1.0);
  const int sector = static_cast<int>(std::floor(hue));
  const double f = hue - sector, p = v * (1 - s), q = v * (1 - f * s), t = v * (1 - (1 - f) * s);
  const std::array<std::array<double, 3>, 6> all = {
      {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}}};
  std::ranges::copy(all[static_cast<std::size_t>(sector % 6)], rgb.begin());
}

ImageSet corrupt(
    const ImageSet& set, Corruption kind, CorruptionTable table, int severity, std::uint64_t seed) {
  const double strength = corruption_strength(kind, table, severity);
  if (set.c != 1 && set.c != 3)
    throw DataError("corrupt: expected grey or RGB images, found " + std::to_string(set.c) + " channels");
  ImageSet out = set;
  out.source += kind == Corruption::kGaussianNoise ? ", Gaussian noise " : ", brightness ";
  out.source += std::to_string(severity);
  for (int i = 0; i < set.n; ++i) {
    if (kind == Corruption::kGaussianNoise) {
      const PhiloxKey key{.seed = seed,
                          .stream = kCorruptionStream,
                          .op = static_cast<std::uint32_t>(severity),
                          .step = static_cast<std::uint32_t>(i)};
      add_noise(set.image(i), strength, key, out.image(i).data());
      continue;
    }
    const auto pixels = out.image(i);
    if (set.c == 1) {
      for (std::uint8_t& p : pixels) p = to_byte(p / 255. + strength);
      continue;
    }
    for (std::size_t p = 0; p < pixels.size(); p += 3) {
      std::array<double, 3> rgb = {pixels[p] / 255., pixels[p + 1] / 255., pixels[p + 2] / 255.};
      brighten(rgb, strength);
      for (std::size_t ch = 0; ch < 3; ++ch) pixels[p + ch] = to_byte(rgb[ch]);
    }
  }
  return out;
}

}  // namespace offramp::data
