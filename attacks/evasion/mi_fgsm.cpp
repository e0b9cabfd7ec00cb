// MI-FGSM (Dong et al. 2018): g_t = mu g_{t-1} + grad / mean|grad|, x <- clip(x + a sign(g_t)) inside the box. No random
// start. The mean stands for the paper's L1 norm, a constant factor (torchattacks); a gradient of zeros adds nothing.
#include <cmath>

#include "attacks/evasion/attack.h"

namespace offramp::attacks::evasion {

Crafted mi_fgsm(const Victim& victim, const Images& images, const Settings& s) {
  const std::size_t size = images.size();
  std::vector<double> momentum(images.pixels.size(), 0);
  const auto direction = [&](int sample, std::span<float> gradient) {
    double mean = 0;
    for (const float g : gradient) mean += std::abs(static_cast<double>(g)) / static_cast<double>(size);
    double* m = momentum.data() + static_cast<std::size_t>(sample) * size;
    for (std::size_t k = 0; k < size; ++k) {
      m[k] = s.momentum * m[k] + (mean > 0 ? static_cast<double>(gradient[k]) / mean : 0);
      gradient[k] = static_cast<float>(m[k]);
    }
  };
  return run_sign_loop(victim,
                       images,
                       {.eps = s.eps, .step = s.step, .steps = s.steps, .path = s.path, .seed = s.seed},
                       labelled(LossKind::kCrossEntropy, images.labels),
                       direction);
}

}  // namespace offramp::attacks::evasion
