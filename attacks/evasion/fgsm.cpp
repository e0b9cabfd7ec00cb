// FGSM (Goodfellow et al. 2015): x' = clip(x + eps sign(grad CE)). One gradient, true label.
#include "attacks/evasion/attack.h"

namespace offramp::attacks::evasion {

Crafted fgsm(const Victim& victim, const Images& images, const Settings& s) {
  return run_sign_loop(victim,
                       images,
                       {.eps = s.eps, .step = s.eps, .steps = 1, .path = s.path, .seed = s.seed},
                       labelled(LossKind::kCrossEntropy, images.labels));
}

}  // namespace offramp::attacks::evasion
