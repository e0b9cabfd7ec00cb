// DeepSloth (Hong et al. 2021; docs/specs/robustness.md 6), one image at a time: no internal classifier becomes sure, so
// the net runs to its end. Minimises the sum over internal classifiers of the cross entropy to the uniform distribution.
// L-inf: start x + U(-step, step), signed steps. L2: start in a random direction of norm eps, gradient renormed to at most 1,
// rate 1 going to .01 as a cosine, radius 10 % smaller every 50 steps. L1: Laplace start of norm eps, sparse signed steps
// along the top 1 % of the gradient's entries.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "attacks/evasion/sloth.h"
#include "kernels/philox.h"

namespace offramp::attacks::evasion {
namespace {

constexpr std::uint32_t kSlothStream = 0xE7A51002u;  // step = number of the image
constexpr int kShrinkEvery = 50;

double scale_to(std::span<double> v, double size, Norm norm) {
  double sum = 0;
  for (const double x : v) sum += norm == Norm::kL2 ? x * x : std::abs(x);
  const double length = norm == Norm::kL2 ? std::sqrt(sum) : sum;
  if (length > 0) {
    for (double& x : v) x *= size / length;
  }
  return length;
}

// Runs `steps` rounds of: gradient, `step_of(t, gradient, delta)`, place inside radius_of(t).
template <class StepOf, class RadiusOf>
Crafted run_ball_loop(const Victim& victim,
                      const Images& images,
                      const Settings& s,
                      Norm norm,
                      StepOf step_of,
                      RadiusOf radius_of) {
  const auto n = static_cast<std::size_t>(images.n);
  const std::size_t size = images.size();
  Crafted out{.pixels = {}, .exit = std::vector<std::int32_t>(n, 0), .macs = std::vector<double>(n, 0)};
  std::vector<std::vector<double>> delta(n, std::vector<double>(size));
  Images now = images;
  for (std::size_t i = 0; i < n; ++i) {
    sloth_start(s.seed, images.numbers[i], norm, s.eps, delta[i]);
    const int at = static_cast<int>(i);
    place(norm, radius_of(0), images.image(at), delta[i], now.image(at));
  }
  for (int t = 0; t < s.steps; ++t) {
    const Gradients g = gradients(victim, now, {Through::kInternalExits}, sloth_loss());
    for (std::size_t i = 0; i < n; ++i) {
      step_of(t, std::span(g.gradient).subspan(i * size, size), std::span<double>(delta[i]));
      const int at = static_cast<int>(i);
      place(norm, radius_of(t), images.image(at), delta[i], now.image(at));
      out.exit[i] = g.exit[i];
      out.macs[i] += static_cast<double>(gradient_macs(victim, g.exit[i]));
    }
  }
  out.pixels = std::move(now.pixels);
  return out;
}

}  // namespace

LogitLoss sloth_loss() {
  return [](int, int, Logits z, LogitGradient d) { return uniform_cross_entropy(z, 1, d); };
}

void sloth_start(std::uint64_t seed, std::int64_t number, Norm norm, double radius, std::span<double> delta) {
  const PhiloxKey key{
      seed, kSlothStream, static_cast<std::uint32_t>(norm), static_cast<std::uint32_t>(number)};
  for (std::size_t k = 0; k < delta.size(); ++k) {
    const double u = (static_cast<double>(key.uniform(2 * k)) + 0x1p-25), v = key.uniform(2 * k + 1);
    delta[k] = norm == Norm::kL2   ? std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v)
               : norm == Norm::kL1 ? (v < 0.5 ? std::log(u) : -std::log(u))
                                   : (2 * v - 1) * radius;
  }
  if (norm != Norm::kLinf) scale_to(delta, radius, norm);
}

void l2_step(std::span<const float> gradient, double rate, std::span<double> delta) {
  double squares = 0;
  for (const float g : gradient) squares += static_cast<double>(g) * static_cast<double>(g);
  const double factor = rate / std::max(1.0, std::sqrt(squares));
  for (std::size_t k = 0; k < delta.size(); ++k) delta[k] -= factor * static_cast<double>(gradient[k]);
}

void sparse_sign_step(std::span<const float> gradient, double share, double step, std::span<double> delta) {
  std::vector<float> size(gradient.size());
  for (std::size_t k = 0; k < size.size(); ++k) size[k] = std::abs(gradient[k]);
  const auto count =
      std::max<std::size_t>(1, static_cast<std::size_t>(share * static_cast<double>(size.size())));
  std::nth_element(
      size.begin(), size.begin() + static_cast<std::ptrdiff_t>(count - 1), size.end(), std::greater<>());
  const float least = size[count - 1];
  std::vector<std::size_t> taken;
  for (std::size_t k = 0; k < gradient.size(); ++k) {
    if (gradient[k] != 0 && std::abs(gradient[k]) >= least) taken.push_back(k);
  }
  for (const std::size_t k : taken) {
    delta[k] -= (gradient[k] > 0 ? step : -step) / static_cast<double>(taken.size());
  }
}

double shrinking_radius(double eps, int t) { return eps * std::pow(0.9, t / kShrinkEvery); }

Crafted sloth_linf(const Victim& victim, const Images& images, const Settings& s) {
  return run_sign_loop(victim,
                       images,
                       {.eps = s.eps,
                        .step = s.step,
                        .steps = s.steps,
                        .start_radius = s.random_start ? std::min(s.step, s.eps) : 0,
                        .ascend = false,
                        .path = {Through::kInternalExits},
                        .seed = s.seed},
                       sloth_loss());
}

Crafted sloth_l2(const Victim& victim, const Images& images, const Settings& s) {
  const auto rate = [&](int t) {
    const double lowest = 0.01 * s.step;
    return lowest + (s.step - lowest) * (1 + std::cos(std::numbers::pi * t / s.steps)) / 2;
  };
  return run_ball_loop(
      victim,
      images,
      s,
      Norm::kL2,
      [&](int t, std::span<const float> g, std::span<double> delta) { l2_step(g, rate(t), delta); },
      [&](int t) { return shrinking_radius(s.eps, t); });
}

Crafted sloth_l1(const Victim& victim, const Images& images, const Settings& s) {
  return run_ball_loop(
      victim,
      images,
      s,
      Norm::kL1,
      [&](int, std::span<const float> g, std::span<double> delta) {
        sparse_sign_step(g, 0.01, s.step, delta);
      },
      [&](int) { return s.eps; });
}

}  // namespace offramp::attacks::evasion
