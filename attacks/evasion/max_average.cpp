// Max-average over exits (Hu et al. 2020; DeepSloth's PGD-max): PGD against each exit alone, and of these images the one
// whose cross entropy summed over all exits is the largest.
#include <limits>

#include "attacks/evasion/attack.h"

namespace offramp::attacks::evasion {

Crafted max_average(const Victim& victim, const Images& images, const Settings& s) {
  const auto n = static_cast<std::size_t>(images.n);
  const std::size_t size = images.size();
  const LogitLoss loss = labelled(LossKind::kCrossEntropy, images.labels);
  Crafted best{
      .pixels = images.pixels, .exit = std::vector<std::int32_t>(n, 0), .macs = std::vector<double>(n, 0)};
  std::vector<double> most(n, -std::numeric_limits<double>::infinity());
  Images candidate = images;
  for (int e = 0; e < victim.num_exits(); ++e) {
    Crafted one = run_sign_loop(victim,
                                images,
                                {.eps = s.eps,
                                 .step = s.step,
                                 .steps = s.steps,
                                 .start_radius = s.random_start ? s.eps : 0,
                                 .path = {Through::kOneExit, e},
                                 .seed = s.seed},
                                loss);
    candidate.pixels = std::move(one.pixels);
    const std::vector<double> total = loss_over_exits(victim, candidate, loss);
    for (std::size_t i = 0; i < n; ++i) {
      best.macs[i] += one.macs[i] + static_cast<double>(victim.exit_macs.back());
      if (!(total[i] > most[i])) continue;
      most[i] = total[i];
      best.exit[i] = e;
      const auto pixels = candidate.image(static_cast<int>(i));
      std::copy(pixels.begin(), pixels.end(), best.pixels.begin() + static_cast<std::ptrdiff_t>(i * size));
    }
  }
  return best;
}

}  // namespace offramp::attacks::evasion
