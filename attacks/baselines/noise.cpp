#include "attacks/baselines/noise.h"

#include <cmath>
#include <vector>

#include "base/errors.h"
#include "kernels/philox.h"

namespace offramp::attacks {
namespace {

constexpr std::uint32_t kPixels = 301, kSpins = 302;  // Philox streams

// One channel of one picture: Gibbs sampling, P(spin = 1 | neighbours) = 1 / (1 + exp(-2 beta sum)).
std::vector<std::uint8_t> ising(int side, const PhiloxKey& key, const IsingOptions& o) {
  const auto size = static_cast<std::size_t>(side) * static_cast<std::size_t>(side);
  std::vector<std::uint8_t> up(size);
  double chance[5];  // by the number of neighbours that are up
  for (int ups = 0; ups <= 4; ++ups) chance[ups] = 1 / (1 + std::exp(-2 * o.beta * (2 * ups - 4)));
  std::uint64_t at = 0;
  for (auto& spin : up) spin = static_cast<std::uint8_t>(key.word(at++) & 1);
  const auto place = [&](int y, int x) {
    return static_cast<std::size_t>((y + side) % side) * static_cast<std::size_t>(side) +
           static_cast<std::size_t>((x + side) % side);
  };
  for (int half = 0; half < 2 * o.sweeps; ++half)
    for (int y = 0; y < side; ++y)
      for (int x = (y + half) % 2; x < side; x += 2) {
        const int ups = up[place(y - 1, x)] + up[place(y + 1, x)] + up[place(y, x - 1)] + up[place(y, x + 1)];
        up[place(y, x)] = static_cast<double>(key.uniform(at++)) < chance[ups] ? 1 : 0;
      }
  return up;
}

}  // namespace

data::ImageSet noise_images(
    NoiseKind kind, int n, int channels, int side, std::uint64_t seed, const IsingOptions& o) {
  if (n < 1 || channels < 1 || side < 1)
    throw ValueError("noise: at least one picture, channel and pixel are wanted");
  if (kind == NoiseKind::kIsing && (!(o.beta >= 0) || o.sweeps < 0 || side % 2 != 0))
    throw ValueError("noise: Ising pictures want an even side, beta and sweeps at least 0; got side " +
                     std::to_string(side) + ", beta " + std::to_string(o.beta) + ", sweeps " +
                     std::to_string(o.sweeps));
  data::ImageSet set{.n = n, .h = side, .w = side, .c = channels};
  set.class_names = {"unlabelled"};
  set.family = "noise";
  set.source = "noise";
  set.labels.assign(static_cast<std::size_t>(n), 0);
  set.pixels.resize(static_cast<std::size_t>(n) * set.image_bytes());
  for (int i = 0; i < n; ++i) {
    const auto image = set.image(i);
    if (kind == NoiseKind::kIsing) {
      for (int c = 0; c < channels; ++c) {
        const PhiloxKey key{seed, kSpins, static_cast<std::uint32_t>(c), static_cast<std::uint32_t>(i)};
        const auto up = ising(side, key, o);
        for (std::size_t p = 0; p < up.size(); ++p)
          image[p * static_cast<std::size_t>(channels) + static_cast<std::size_t>(c)] = up[p] ? 255 : 0;
      }
      continue;
    }
    const PhiloxKey key{seed, kPixels, static_cast<std::uint32_t>(kind), static_cast<std::uint32_t>(i)};
    for (std::size_t p = 0; p < image.size(); ++p) {
      const std::uint32_t word = key.word(p);
      image[p] = static_cast<std::uint8_t>(kind == NoiseKind::kBernoulli ? (word & 1) * 255 : word >> 24);
    }
  }
  return set;
}

}  // namespace offramp::attacks
