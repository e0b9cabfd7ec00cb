#pragma once
// The parts of DeepSloth that its per-sample and its universal form share (docs/specs/robustness.md 6).
#include <cstdint>
#include <span>

#include "attacks/evasion/attack.h"

namespace offramp::attacks::evasion {

// Cross entropy to the uniform distribution at every exit that the path looks at. To be made small.
LogitLoss sloth_loss();
// L-inf: uniform in (-radius, radius); L2 and L1: a Gaussian or Laplace direction of norm `radius`.
void sloth_start(std::uint64_t seed, std::int64_t number, Norm norm, double radius, std::span<double> delta);
// delta -= rate * gradient, the gradient renormed to at most 1.
void l2_step(std::span<const float> gradient, double rate, std::span<double> delta);
// delta -= step * sign / count over the `share` of entries whose gradient is the largest.
void sparse_sign_step(std::span<const float> gradient, double share, double step, std::span<double> delta);
// eps, a tenth less every 50 steps: after 550 steps .9^10 eps.
double shrinking_radius(double eps, int t);

}  // namespace offramp::attacks::evasion
