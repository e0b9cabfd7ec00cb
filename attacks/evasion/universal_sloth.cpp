#include <algorithm>
#include <cmath>
#include <string>

#include "attacks/evasion/sloth.h"
#include "attacks/evasion/universal.h"
#include "base/errors.h"

namespace offramp::attacks::evasion {
namespace {

constexpr int kEpochSteps = 50;

// Mean gradient of the batch moved by delta.
std::vector<float> mean_gradient(const Victim& victim, const Images& batch, const Images& moved) {
  const Gradients g = gradients(victim, moved, {Through::kInternalExits}, sloth_loss());
  std::vector<double> sum(batch.size(), 0);
  for (std::size_t i = 0; i < g.gradient.size(); ++i)
    sum[i % sum.size()] += static_cast<double>(g.gradient[i]);
  std::vector<float> mean(sum.size());
  for (std::size_t k = 0; k < mean.size(); ++k) mean[k] = static_cast<float>(sum[k] / batch.n);
  return mean;
}

void project(Norm norm, double radius, std::span<double> delta) {
  if (norm == Norm::kLinf) {
    for (double& d : delta) d = std::clamp(d, -radius, radius);
    return;
  }
  double size = 0;
  for (const double d : delta) size += norm == Norm::kL2 ? d * d : std::abs(d);
  if (norm == Norm::kL2) size = std::sqrt(size);
  if (size <= radius) return;
  for (double& d : delta) d *= radius / size;
}

}  // namespace

UniversalSettings universal_defaults(Norm norm) {
  switch (norm) {
    case Norm::kL2:
      return {.eps = 1, .step = 0.1, .steps = 550, .batches = 5};
    case Norm::kL1:
      return {.eps = 8, .step = 0.5, .steps = 100, .batches = 5, .share = 0.1};
    default:
      return {};
  }
}

std::vector<double> universal_sloth(const Victim& victim,
                                    const Images& training,
                                    Norm norm,
                                    const UniversalSettings& s) {
  check(training, victim.classes());
  check({Through::kInternalExits}, victim);
  if (!(std::isfinite(s.eps) && s.eps >= 0 && std::isfinite(s.step) && s.step > 0 && s.steps >= 1 &&
        s.batch >= 1 && s.batches >= 1 && s.share > 0 && s.share <= 1) ||
      norm == Norm::kNone) {
    throw ValueError(
        "universal: expected a norm, eps of at least 0, a step above 0, and at least one step and image");
  }
  std::vector<double> delta(training.size());
  sloth_start(s.seed, 0, norm, s.eps, delta);
  const int batches = std::min(s.batches, (training.n + s.batch - 1) / s.batch);
  for (int t = 0; t < s.steps; ++t) {
    const double radius = norm == Norm::kL2 ? shrinking_radius(s.eps, t) : s.eps;
    const Images batch = part(training, (t % batches) * s.batch, s.batch);
    const std::vector<float> g = mean_gradient(victim, batch, apply_universal(batch, norm, radius, delta));
    if (norm == Norm::kL2) {
      l2_step(g, s.step * std::pow(0.9, t / kEpochSteps), delta);
    } else if (norm == Norm::kL1) {
      sparse_sign_step(g, s.share, s.step, delta);
    } else {
      for (std::size_t k = 0; k < delta.size(); ++k) delta[k] -= g[k] > 0 ? s.step : g[k] < 0 ? -s.step : 0;
    }
    project(norm, radius, delta);
    if (s.progress) s.progress(t + 1, s.steps);
  }
  return delta;
}

std::map<std::int32_t, std::vector<double>> class_universal_sloth(const Victim& victim,
                                                                  const Images& training,
                                                                  Norm norm,
                                                                  const UniversalSettings& settings) {
  check(training, victim.classes());
  std::map<std::int32_t, std::vector<int>> rows;
  for (int i = 0; i < training.n; ++i) rows[training.labels[static_cast<std::size_t>(i)]].push_back(i);
  std::map<std::int32_t, std::vector<double>> by_class;
  for (const auto& [label, mine] : rows) {
    by_class[label] = universal_sloth(victim, chosen(training, mine), norm, settings);
  }
  return by_class;
}

Images apply_universal(const Images& images, Norm norm, double eps, std::span<const double> delta) {
  Images out = images;
  for (int i = 0; i < images.n; ++i) {
    std::vector<double> mine(delta.begin(), delta.end());
    place(norm, eps, images.image(i), mine, out.image(i));
  }
  return out;
}

Images apply_universal(const Images& images,
                       Norm norm,
                       double eps,
                       const std::map<std::int32_t, std::vector<double>>& by_class) {
  Images out = images;
  for (int i = 0; i < images.n; ++i) {
    const auto found = by_class.find(images.labels[static_cast<std::size_t>(i)]);
    if (found == by_class.end()) continue;
    std::vector<double> mine = found->second;
    place(norm, eps, images.image(i), mine, out.image(i));
  }
  return out;
}

}  // namespace offramp::attacks::evasion
