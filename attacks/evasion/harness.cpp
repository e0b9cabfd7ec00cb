#include "attacks/evasion/harness.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "base/errors.h"
#include "nets/exits/exit_policy.h"

namespace offramp::attacks::evasion {
namespace {

void require(bool holds, const std::string& what, double got) {
  if (!holds) throw ValueError("evade: expected " + what + ", got " + std::to_string(got));
}

void check_fit(const Victim& victim, const Images& images) {
  check(images, victim.classes());
  if (images.extent != victim.net->input()) {
    throw ShapeError("evade: " + victim.name + " takes samples of " + nets::to_string(victim.net->input()) +
                     ", the images are " + nets::to_string(images.extent));
  }
}

}  // namespace

void check(const Attack& attack, const Settings& s) {
  require(std::isfinite(s.eps) && s.eps >= 0 && (attack.norm != Norm::kLinf || s.eps <= 1),
          attack.norm == Norm::kLinf ? "eps in [0,1]" : "eps of at least 0",
          s.eps);
  require(
      (attack.reads & kReadsStep) == 0 || (std::isfinite(s.step) && s.step > 0), "a step above 0", s.step);
  require(s.steps >= 1, "at least one step", s.steps);
  require(std::isfinite(s.momentum) && s.momentum >= 0, "a momentum of at least 0", s.momentum);
  require(std::isfinite(s.early.alpha) && s.early.alpha >= 0, "alpha of at least 0", s.early.alpha);
  require(std::isfinite(s.early.c) && s.early.c > 0, "c above 0", s.early.c);
  require(std::isfinite(s.early.learning_rate) && s.early.learning_rate > 0,
          "a learning rate above 0",
          s.early.learning_rate);
  require(s.early.held_classes >= 0, "a number of held classes of at least 0", s.early.held_classes);
}

void check_bounds(Norm norm, double eps, const Images& images, const Images& examples) {
  for (int i = 0; i < images.n; ++i) {
    for (const float v : examples.image(i)) {
      if (!(v >= 0.f && v <= 1.f)) throw std::logic_error("evade: an example left [0,1]");
    }
    if (norm != Norm::kNone && distance(norm, images.image(i), examples.image(i)) > eps) {
      throw std::logic_error("evade: an example left its bound");
    }
  }
}

Examples craft(const Victim& victim,
               const Attack& attack,
               const Images& images,
               const Settings& settings,
               const CraftOptions& options) {
  check(attack, settings);
  check(settings.path, victim);
  check_fit(victim, images);
  if (options.batch < 1) throw ValueError("evade: expected a batch of at least 1");
  if (attack.needs_internal_exits && !victim.is_dynamic()) {
    throw ValueError(std::string("evade: ") + attack.name + " needs a victim with internal classifiers, " +
                     victim.name + " has one exit");
  }
  Examples out{.images = images, .exit = {}, .macs = {}};
  if (attack.norm != Norm::kNone && settings.eps == 0) {
    out.exit.assign(static_cast<std::size_t>(images.n), 0);
    out.macs.assign(static_cast<std::size_t>(images.n), 0);
    return out;
  }
  out.images.pixels.clear();
  for (int first = 0; first < images.n; first += options.batch) {
    Crafted made = attack.run(victim, part(images, first, options.batch), settings);
    out.images.pixels.insert(out.images.pixels.end(), made.pixels.begin(), made.pixels.end());
    out.exit.insert(out.exit.end(), made.exit.begin(), made.exit.end());
    out.macs.insert(out.macs.end(), made.macs.begin(), made.macs.end());
    if (options.progress) options.progress(std::min(images.n, first + options.batch), images.n);
  }
  check_bounds(attack.norm, settings.eps, images, out.images);
  return out;
}

Judgement judge(const Victim& victim, const Images& images, int batch) {
  check_fit(victim, images);
  ImagesSource source(images, victim.device, batch);
  Judgement judgement{.outputs = nets::exit_outputs(*victim.net, source, {}, nets::Keep::kConfidences),
                      .label = {},
                      .exit = {}};
  const auto exits = static_cast<std::size_t>(victim.num_exits());
  for (int i = 0; i < images.n; ++i) {
    const std::size_t at = judgement.outputs.at(i, 0);
    const nets::ExitChoice choice =
        nets::choose_exit(victim.policy, std::span(judgement.outputs.confidence).subspan(at, exits));
    judgement.exit.push_back(choice.stopped);
    judgement.label.push_back(judgement.outputs.predicted[at + static_cast<std::size_t>(choice.answered)]);
  }
  return judgement;
}

VictimFlags flags_of(const Victim& victim, const Images& images) {
  check_fit(victim, images);
  constexpr double kRounding = 1e-5;
  const auto n = static_cast<std::size_t>(images.n);
  const std::size_t size = images.size();
  const LogitLoss loss = labelled(LossKind::kCrossEntropy, images.labels, 1.0 / victim.num_exits());
  const Gradients g = gradients(victim, images, {Through::kAllExits}, loss);
  const std::vector<double> once = loss_over_exits(victim, images, loss),
                            twice = loss_over_exits(victim, images, loss);
  const double each = 1.0 / static_cast<double>(n);
  VictimFlags flags{.probed = images.n};
  std::vector<bool> zero(n), unexplained(n, true);
  for (std::size_t i = 0; i < n; ++i) {
    const auto mine = std::span(g.gradient).subspan(i * size, size);
    zero[i] = std::all_of(mine.begin(), mine.end(), [](float v) { return v == 0; });
    flags.zero_gradient += zero[i] ? each : 0;
    flags.random += once[i] != twice[i] ? each : 0;
  }
  // The loss of a sure image grows like an exponential: what a step does not explain, an eighth of it may. Where there is no
  // gradient only the first step tells.
  for (const double step : {0x1p-10, 0x1p-13, 0x1p-16}) {
    Images moved = images;
    std::vector<double> foreseen(n, 0);
    for (std::size_t k = 0; k < g.gradient.size(); ++k) {
      const double direction = zero[k / size]      ? (k % 2 ? 1 : -1)
                               : g.gradient[k] > 0 ? 1
                               : g.gradient[k] < 0 ? -1
                                                   : 0;
      moved.pixels[k] =
          static_cast<float>(std::clamp(static_cast<double>(images.pixels[k]) + step * direction, 0.0, 1.0));
      foreseen[k / size] += (static_cast<double>(moved.pixels[k]) - static_cast<double>(images.pixels[k])) *
                            static_cast<double>(g.gradient[k]);
    }
    const std::vector<double> after = loss_over_exits(victim, moved, loss);
    for (std::size_t i = 0; i < n; ++i) {
      if (!unexplained[i] || (zero[i] && step < 0x1p-10)) continue;
      const double change = after[i] - once[i], most = std::max(std::abs(change), std::abs(foreseen[i]));
      const double rounding = kRounding * (1 + std::abs(once[i]));
      if (step < 0x1p-10 && most < 4 * rounding) continue;  // too little to tell
      unexplained[i] = std::abs(change - foreseen[i]) > rounding + 0.5 * most;
    }
  }
  for (std::size_t i = 0; i < n; ++i) flags.discontinuous += unexplained[i] ? each : 0;
  return flags;
}

}  // namespace offramp::attacks::evasion
