// PGD (Madry et al. 2018): x_0 = clip(x + U(-eps, eps)), then signed steps inside the box. Defaults of torchattacks
// (8/255, 2/255, 10, random start). pgd-avg (DeepSloth's baseline): mean cross entropy over all exits.
#include "attacks/evasion/attack.h"

namespace offramp::attacks::evasion {
namespace {

SignLoop pgd_loop(const Settings& s, ExitPath path) {
  return {.eps = s.eps,
          .step = s.step,
          .steps = s.steps,
          .start_radius = s.random_start ? s.eps : 0,
          .path = path,
          .seed = s.seed};
}

}  // namespace

Crafted pgd(const Victim& victim, const Images& images, const Settings& s) {
  return run_sign_loop(victim, images, pgd_loop(s, s.path), labelled(LossKind::kCrossEntropy, images.labels));
}

Crafted pgd_average(const Victim& victim, const Images& images, const Settings& s) {
  return run_sign_loop(victim,
                       images,
                       pgd_loop(s, {Through::kAllExits}),
                       labelled(LossKind::kCrossEntropy, images.labels, 1.0 / victim.num_exits()));
}

}  // namespace offramp::attacks::evasion
