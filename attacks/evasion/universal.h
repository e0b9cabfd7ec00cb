#pragma once
// One perturbation for many images: DeepSloth's universal and class-universal forms, and UAP, its baseline
// (docs/specs/robustness.md 6).
#include <functional>
#include <map>
#include <vector>

#include "attacks/evasion/harness.h"

namespace offramp::attacks::evasion {

struct UniversalSettings {
  double eps = 0.03125, step = 0.005;
  int steps = 20;    // in all; L2: the rate falls by 10 % and the radius with it every 50
  int batch = 250;   // training images of one gradient
  int batches = 1;   // gradients go round these
  double share = 1;  // of the entries that an L1 step takes
  std::uint64_t seed = 1;
  std::function<void(int done, int all)> progress = {};  // may throw to stop
};
// The published settings of a norm.
UniversalSettings universal_defaults(Norm norm);

// delta [size] that keeps the internal classifiers unsure on `training`, its norm at most eps. Paper's code: images with the
// perturbation are not clipped while it is made; here they are, as they will be. Throws ValueError for settings outside their
// domain, a victim without internal classifiers, no images.
std::vector<double> universal_sloth(const Victim& victim,
                                    const Images& training,
                                    Norm norm,
                                    const UniversalSettings& settings);
// One for each class that has training images, made on them alone. By label.
std::map<std::int32_t, std::vector<double>> class_universal_sloth(const Victim& victim,
                                                                  const Images& training,
                                                                  Norm norm,
                                                                  const UniversalSettings& settings);

// UAP (Moosavi-Dezfooli et al. 2017) against the last exit, L-inf: DeepFool's push for each image that the perturbation does
// not fool yet, projected, until the share `target` of the images is fooled or after `passes` rounds.
struct UapSettings {
  double eps = 0.03125, target = 0.8;
  int passes = 10, rivals = 10, iterations = 50;
  double overshoot = 0.02;
};
struct Uap {
  std::vector<double> delta;
  double fooled = 0;  // share of the images it was made on
  int passes = 0;
};
Uap universal_adversarial(const Victim& victim, const Images& training, const UapSettings& settings);

// The images with the perturbation, inside eps and [0,1]; by_class: of their labels, images of other classes stay.
Images apply_universal(const Images& images, Norm norm, double eps, std::span<const double> delta);
Images apply_universal(const Images& images,
                       Norm norm,
                       double eps,
                       const std::map<std::int32_t, std::vector<double>>& by_class);

}  // namespace offramp::attacks::evasion
