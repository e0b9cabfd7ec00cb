// APGD (Croce, Hein 2020): PGD that halves its step, sample by sample, where it stops making progress, and goes on from
// the best point. eta_0 = 2 eps, momentum .75, rho .75, checkpoints at shares p_0 = 0, p_1 = .22,
// p_{j+1} = p_j + max(p_j - p_{j-1} - .03, .06). Losses: cross entropy, or the difference of logits ratio (DLR).
// Returned: of the iterates that the net answers wrongly (with a path of one exit: that exit) the one of largest loss, else
// the one of largest loss.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "attacks/evasion/attack.h"

namespace offramp::attacks::evasion {
namespace {

// What APGD remembers of one sample.
struct ApgdState {
  double eta = 0, best_loss = 0, last_loss = 0;
  double best_at_checkpoint = 0, eta_at_checkpoint = 0;
  double fooling_loss = -std::numeric_limits<double>::infinity();  // of `answer`, if it is classified wrongly
  int increases = 0, since = 0;                                    // since the last checkpoint
};

Crafted apgd(const Victim& victim, const Images& images, const Settings& s, LossKind kind) {
  const auto n = static_cast<std::size_t>(images.n);
  const std::size_t size = images.size();
  const LogitLoss loss = labelled(kind, images.labels);
  const LinfBox box = box_around(images.pixels, s.eps);
  const std::vector<bool> checkpoint = apgd_checkpoints(s.steps);
  const auto clip = [&](std::size_t at, double v) {
    return std::clamp(static_cast<float>(v), box.low[at], box.high[at]);
  };
  Images now = images;
  if (s.random_start) {
    std::vector<double> delta(size);
    for (std::size_t i = 0; i < n; ++i) {
      uniform_start(s.seed, 0, images.numbers[i], s.eps, delta);
      for (std::size_t k = 0; k < size; ++k) {
        now.pixels[i * size + k] =
            clip(i * size + k, static_cast<double>(images.pixels[i * size + k]) + delta[k]);
      }
    }
  }
  std::vector<float> before = now.pixels, best = now.pixels, best_gradient;
  Crafted out{
      .pixels = now.pixels, .exit = std::vector<std::int32_t>(n, 0), .macs = std::vector<double>(n, 0)};
  std::vector<ApgdState> state(n);
  for (int t = 0; t <= s.steps; ++t) {  // evaluates x_t, then makes x_{t+1}
    Gradients g = gradients(victim, now, s.path, loss);
    if (t == 0) best_gradient = g.gradient;
    for (std::size_t i = 0; i < n; ++i) {
      ApgdState& a = state[i];
      const auto first = static_cast<std::ptrdiff_t>(i * size),
                 last = first + static_cast<std::ptrdiff_t>(size);
      out.exit[i] = g.exit[i];
      out.macs[i] += static_cast<double>(gradient_macs(victim, g.exit[i]));
      const double value = g.loss[i];
      if (t == 0) {
        a = {.eta = 2 * s.eps,
             .best_loss = value,
             .last_loss = value,
             .best_at_checkpoint = value,
             .eta_at_checkpoint = 2 * s.eps};
      } else {
        a.increases += value > a.last_loss ? 1 : 0;
        ++a.since;
        a.last_loss = value;
        if (value > a.best_loss) {
          a.best_loss = value;
          std::copy(now.pixels.begin() + first, now.pixels.begin() + last, best.begin() + first);
          std::copy(g.gradient.begin() + first, g.gradient.begin() + last, best_gradient.begin() + first);
        }
      }
      const bool fools = g.predicted[i] != images.labels[i];
      const bool had_one = a.fooling_loss > -std::numeric_limits<double>::infinity();
      if (fools ? value > a.fooling_loss : !had_one && value >= a.best_loss) {
        std::copy(now.pixels.begin() + first, now.pixels.begin() + last, out.pixels.begin() + first);
        if (fools) a.fooling_loss = value;
      }
      if (t == s.steps) continue;
      bool restart = false;
      if (checkpoint[static_cast<std::size_t>(t)]) {
        const bool stalled = static_cast<double>(a.increases) < 0.75 * a.since;
        const bool unchanged = a.eta_at_checkpoint == a.eta && !(a.best_loss > a.best_at_checkpoint);
        a.eta_at_checkpoint = a.eta;
        a.best_at_checkpoint = a.best_loss;
        if (stalled || unchanged) {
          a.eta /= 2;
          restart = true;
        }
        a.increases = a.since = 0;
      }
      const float* grad = g.gradient.data() + i * size;
      if (restart) {
        std::copy(best.begin() + first, best.begin() + last, now.pixels.begin() + first);
        grad = best_gradient.data() + i * size;
      }
      const double pull = t == 0 ? 1 : 0.75;  // x_{t+1} = x_t + pull (z - x_t) + (1 - pull)(x_t - x_{t-1})
      for (std::size_t k = 0; k < size; ++k) {
        const std::size_t at = i * size + k;
        const double x = now.pixels[at], was = restart ? x : static_cast<double>(before[at]);
        const double direction = grad[k] > 0 ? 1 : grad[k] < 0 ? -1 : 0;
        const double z = clip(at, x + a.eta * direction);
        before[at] = now.pixels[at];
        now.pixels[at] = clip(at, x + pull * (z - x) + (1 - pull) * (x - was));
      }
    }
  }
  return out;
}

}  // namespace

std::vector<bool> apgd_checkpoints(int steps) {
  std::vector<bool> at(static_cast<std::size_t>(steps) + 1, false);
  std::int64_t before = 0, percent = 22;  // in whole numbers: .57 as a sum of doubles lies above it
  while (percent < 100) {
    at[static_cast<std::size_t>((percent * steps + 99) / 100)] = true;
    before = std::exchange(percent, percent + std::max<std::int64_t>(percent - before - 3, 6));
  }
  return at;
}

Crafted apgd_ce(const Victim& victim, const Images& images, const Settings& s) {
  return apgd(victim, images, s, LossKind::kCrossEntropy);
}
Crafted apgd_dlr(const Victim& victim, const Images& images, const Settings& s) {
  return apgd(victim, images, s, LossKind::kDlr);
}

}  // namespace offramp::attacks::evasion
