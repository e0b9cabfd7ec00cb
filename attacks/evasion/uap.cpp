#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "attacks/evasion/universal.h"
#include "base/errors.h"

namespace offramp::attacks::evasion {
namespace {

std::vector<std::int32_t> last_predictions(const Victim& victim, const Images& images) {
  const Judgement j = judge(victim, images);
  std::vector<std::int32_t> labels;
  for (std::size_t i = 0; i < j.n(); ++i) labels.push_back(j.last_label(i));
  return labels;
}

// DeepFool (Moosavi-Dezfooli et al. 2016) from `start` for the linearised last exit: the push to the nearest boundary in L2,
// again and again until the class is not `from`. Copies of the image, one a rival, give all gradients in one pass.
std::vector<double> deepfool(const Victim& victim,
                             const Images& start,
                             std::int32_t from,
                             const UapSettings& s) {
  const std::size_t size = start.size(), classes = static_cast<std::size_t>(victim.classes());
  const int last = victim.num_exits() - 1;
  std::vector<double> push(size, 0);
  Images now = start;
  for (int t = 0; t < s.iterations; ++t) {
    std::vector<float> z;
    const auto keep_logits = [&](int, int, Logits logits, LogitGradient) {
      z.assign(logits.begin(), logits.end());
      return 0.0;
    };
    const Gradients plain = gradients(victim, now, {Through::kOneExit, last}, keep_logits);
    if (plain.predicted[0] != from) break;
    std::vector<std::int32_t> rivals(classes);
    std::iota(rivals.begin(), rivals.end(), 0);
    std::erase(rivals, from);
    std::stable_sort(rivals.begin(), rivals.end(), [&](std::int32_t a, std::int32_t b) {
      return z[static_cast<std::size_t>(a)] > z[static_cast<std::size_t>(b)];
    });
    rivals.resize(std::min(rivals.size(), static_cast<std::size_t>(s.rivals)));
    const Images copies = chosen(now, std::vector<int>(rivals.size(), 0));
    const Gradients g =
        gradients(victim, copies, {Through::kOneExit, last}, [&](int sample, int, Logits, LogitGradient d) {
          d[static_cast<std::size_t>(rivals[static_cast<std::size_t>(sample)])] = 1;
          d[static_cast<std::size_t>(from)] = -1;
          return 0.0;
        });
    double nearest = std::numeric_limits<double>::infinity(), factor = 0;
    std::size_t best = 0;
    for (std::size_t r = 0; r < rivals.size(); ++r) {
      double squares = 0;
      for (std::size_t k = 0; k < size; ++k)
        squares += std::pow(static_cast<double>(g.gradient[r * size + k]), 2);
      const double gap = static_cast<double>(z[static_cast<std::size_t>(from)]) -
                         static_cast<double>(z[static_cast<std::size_t>(rivals[r])]);
      if (!(squares > 0) || gap / std::sqrt(squares) >= nearest) continue;
      nearest = gap / std::sqrt(squares);
      factor = (gap + 1e-6) / squares;
      best = r;
    }
    if (std::isinf(nearest)) break;  // no gradient leads anywhere
    for (std::size_t k = 0; k < size; ++k) {
      push[k] += factor * static_cast<double>(g.gradient[best * size + k]);
      now.pixels[k] = static_cast<float>(
          std::clamp(static_cast<double>(start.pixels[k]) + (1 + s.overshoot) * push[k], 0.0, 1.0));
    }
  }
  for (double& p : push) p *= 1 + s.overshoot;
  return push;
}

}  // namespace

Uap universal_adversarial(const Victim& victim, const Images& training, const UapSettings& s) {
  check(training, victim.classes());
  if (!(s.eps >= 0 && s.eps <= 1 && s.target > 0 && s.target <= 1 && s.passes >= 1 && s.rivals >= 1)) {
    throw ValueError("uap: expected eps in [0,1], a target in (0,1], and at least one pass and rival");
  }
  const std::vector<std::int32_t> clean = last_predictions(victim, training);
  Uap uap{.delta = std::vector<double>(training.size(), 0)};
  const auto share_fooled = [&] {
    const auto now = last_predictions(victim, apply_universal(training, Norm::kLinf, s.eps, uap.delta));
    int count = 0;
    for (std::size_t i = 0; i < now.size(); ++i) count += now[i] != clean[i] ? 1 : 0;
    return static_cast<double>(count) / static_cast<double>(now.size());
  };
  while (uap.passes < s.passes && uap.fooled < s.target) {
    ++uap.passes;
    for (int i = 0; i < training.n; ++i) {
      const Images moved = apply_universal(part(training, i, 1), Norm::kLinf, s.eps, uap.delta);
      const std::vector<double> push = deepfool(victim, moved, clean[static_cast<std::size_t>(i)], s);
      for (std::size_t k = 0; k < push.size(); ++k) {
        uap.delta[k] = std::clamp(uap.delta[k] + push[k], -s.eps, s.eps);
      }
    }
    uap.fooled = share_fooled();
  }
  return uap;
}

}  // namespace offramp::attacks::evasion
