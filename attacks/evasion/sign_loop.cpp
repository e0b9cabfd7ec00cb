// The loop of the L-inf attacks, written once. Host arithmetic in double, one rounding to float per step, then the box.
#include <algorithm>

#include "attacks/evasion/attack.h"
#include "kernels/philox.h"

namespace offramp::attacks::evasion {
namespace {

constexpr std::uint32_t kStartStream = 0xE7A51001u;  // op = restart, step = number of the image

}  // namespace

void uniform_start(
    std::uint64_t seed, std::uint32_t draw, std::int64_t number, double radius, std::span<double> delta) {
  const PhiloxKey key{seed, kStartStream, draw, static_cast<std::uint32_t>(number)};
  for (std::size_t i = 0; i < delta.size(); ++i) {
    delta[i] = (2 * static_cast<double>(key.uniform(i)) - 1) * radius;
  }
}

Crafted run_sign_loop(const Victim& victim,
                      const Images& images,
                      const SignLoop& loop,
                      const LogitLoss& loss,
                      const Direction& direction) {
  const auto n = static_cast<std::size_t>(images.n);
  const std::size_t size = images.size();
  const LinfBox box = box_around(images.pixels, loop.eps);
  Images now = images;
  Crafted out{.pixels = {}, .exit = std::vector<std::int32_t>(n, 0), .macs = std::vector<double>(n, 0)};
  const auto move = [&](std::size_t at, double by) {
    now.pixels[at] =
        std::clamp(static_cast<float>(static_cast<double>(now.pixels[at]) + by), box.low[at], box.high[at]);
  };
  if (loop.start_radius > 0) {
    std::vector<double> delta(size);
    for (std::size_t i = 0; i < n; ++i) {
      uniform_start(loop.seed, loop.restart, images.numbers[i], loop.start_radius, delta);
      for (std::size_t k = 0; k < size; ++k) move(i * size + k, delta[k]);
    }
  }
  const double step = loop.ascend ? loop.step : -loop.step;
  for (int t = 0; t < loop.steps; ++t) {
    Gradients g = gradients(victim, now, loop.path, loss);
    for (std::size_t i = 0; i < n; ++i) {
      const std::span<float> mine(g.gradient.data() + i * size, size);
      if (direction) direction(static_cast<int>(i), mine);
      for (std::size_t k = 0; k < size; ++k) {
        if (mine[k] != 0) move(i * size + k, mine[k] > 0 ? step : -step);
      }
      out.exit[i] = g.exit[i];
      out.macs[i] += static_cast<double>(gradient_macs(victim, g.exit[i]));
    }
  }
  out.pixels = std::move(now.pixels);
  return out;
}

}  // namespace offramp::attacks::evasion
