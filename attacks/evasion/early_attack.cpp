// Early Attack (DyNN 6): the last exit keeps its prediction p, every other exit loses it.
//   minimise distance(x, x') + c (alpha L1 + L2),  x' = (tanh(w) + 1) / 2, Adam on w
//   L1 = -sum_{j != p} max(y_p - y_j, 0) at the last exit, L2 = sum over the other exits of y_p
// Defaults: squared L2 distance in pixels, start at the image (w = atanh of it, scaled to .999), the successful iterate of
// smallest distance. Paper: prints the plain norm (EarlyDistance::kL2) and lets L2 run to the last exit, against its text.
// The authors' code: kRandom, kSquaredL2Normalised, kAfter200, held_classes = 10 (docs/specs/robustness.md 4.2).
#include <algorithm>
#include <cmath>
#include <limits>

#include "attacks/evasion/attack.h"

namespace offramp::attacks::evasion {
namespace {

constexpr int kCodeFirstReturn = 200;

// One image's w and Adam's moments.
struct EarlyState {
  std::vector<double> w, first, second;
  double nearest = std::numeric_limits<double>::infinity();
  bool done = false;  // the authors' code has returned
};

double image_of(double w) { return (std::tanh(w) + 1) / 2; }

void start_at(const EarlySettings& e,
              std::uint64_t seed,
              std::int64_t number,
              std::span<const float> x,
              EarlyState& s) {
  s.w.resize(x.size());
  s.first.assign(x.size(), 0);
  s.second.assign(x.size(), 0);
  if (e.start == EarlyStart::kRandom) {
    uniform_start(seed, 0, number, 0.5, s.w);
    for (double& w : s.w) w += 0.5;
    return;
  }
  for (std::size_t k = 0; k < x.size(); ++k) s.w[k] = std::atanh(0.999 * (2 * static_cast<double>(x[k]) - 1));
}

// Adam with betas .9, .999 and its usual epsilon; t from 1.
void adam_step(EarlyState& s, std::span<const double> gradient, double rate, int t) {
  const double c1 = 1 - std::pow(0.9, t), c2 = 1 - std::pow(0.999, t);
  for (std::size_t k = 0; k < s.w.size(); ++k) {
    s.first[k] = 0.9 * s.first[k] + 0.1 * gradient[k];
    s.second[k] = 0.999 * s.second[k] + 0.001 * gradient[k] * gradient[k];
    s.w[k] -= rate * (s.first[k] / c1) / (std::sqrt(s.second[k] / c2) + 1e-8);
  }
}

// Last exit = p, all others differ.
bool is_early_success(std::span<const std::int32_t> at_exit, std::int32_t p) {
  return at_exit.back() == p &&
         std::none_of(at_exit.begin(), at_exit.end() - 1, [&](std::int32_t label) { return label == p; });
}

// Of one image: the squared distance (of normalised images where the settings say so) and d(distance term)/d(x').
class EarlyMetric {
 public:
  EarlyMetric(const EarlySettings& settings, const Victim& victim, int channels)
      : plain_(settings.distance == EarlyDistance::kL2), weight_(static_cast<std::size_t>(channels), 1.0) {
    if (settings.distance != EarlyDistance::kSquaredL2Normalised) return;
    for (std::size_t c = 0; c < weight_.size() && c < victim.inverse_deviation.size(); ++c) {
      weight_[c] = std::pow(static_cast<double>(victim.inverse_deviation[c]), 2);
    }
  }
  double operator()(std::span<const float> origin,
                    std::span<const float> image,
                    std::span<double> gradient) const {
    double sum = 0;
    for (std::size_t k = 0; k < origin.size(); ++k) {
      const double difference = static_cast<double>(image[k]) - static_cast<double>(origin[k]);
      const double weight = weight_[k % weight_.size()];  // channels lie innermost
      sum += weight * difference * difference;
      gradient[k] = 2 * weight * difference;
    }
    if (!plain_) return sum;
    const double norm = std::sqrt(sum);
    for (double& g : gradient) g = norm > 0 ? g / (2 * norm) : 0;
    return norm;
  }

 private:
  bool plain_;
  std::vector<double> weight_;
};

}  // namespace

Crafted early_attack(const Victim& victim, const Images& images, const Settings& s) {
  const EarlySettings& e = s.early;
  const auto n = static_cast<std::size_t>(images.n), exits = static_cast<std::size_t>(victim.num_exits());
  const std::size_t size = images.size();
  const int last = victim.num_exits() - 1;
  const int held = e.held_classes > 0 ? e.held_classes : victim.classes();
  const EarlyMetric metric(e, victim, images.extent.c);

  std::vector<std::int32_t> kept(n);  // p: what the last exit says of the clean image
  const auto no_loss = [](int, int, Logits, LogitGradient) { return 0.0; };
  {
    const Gradients clean = gradients(victim, images, {Through::kAllExits}, no_loss);
    for (std::size_t i = 0; i < n; ++i) kept[i] = clean.at_exit[(i + 1) * exits - 1];
  }
  Crafted out{
      .pixels = images.pixels, .exit = std::vector<std::int32_t>(n, last), .macs = std::vector<double>(n, 0)};
  std::vector<EarlyState> states(n);
  Images now = images;
  const auto show = [&](std::size_t i) {
    for (std::size_t k = 0; k < size; ++k)
      now.pixels[i * size + k] = static_cast<float>(image_of(states[i].w[k]));
  };
  for (std::size_t i = 0; i < n; ++i) {
    start_at(e, s.seed, images.numbers[i], images.image(static_cast<int>(i)), states[i]);
    show(i);
  }
  const LogitLoss loss = [&](int sample, int exit, Logits z, LogitGradient d) {
    const std::int32_t p = kept[static_cast<std::size_t>(sample)];
    return exit == last ? hold_prediction(z, p, held, e.c * e.alpha, d) : leave_prediction(z, p, e.c, d);
  };
  std::vector<double> gradient(size);
  // Iteration t judges x_t and makes x_{t+1}; the last one only judges.
  for (int t = 0; t <= s.steps; ++t) {
    const Gradients g = gradients(victim, now, {Through::kAllExits}, loss);
    for (std::size_t i = 0; i < n; ++i) {
      EarlyState& state = states[i];
      if (state.done) continue;
      const auto origin = images.image(static_cast<int>(i));
      const auto image = std::as_const(now).image(static_cast<int>(i));
      out.macs[i] += static_cast<double>(gradient_macs(victim, last));
      const double far = metric(origin, image, gradient);
      const bool success = t > 0 && is_early_success({g.at_exit.data() + i * exits, exits}, kept[i]);
      const bool nearest = e.returns == EarlyReturn::kNearest;
      const bool none_yet = nearest && std::isinf(state.nearest);
      if (nearest ? (success ? far < state.nearest : none_yet) : true) {
        std::copy(image.begin(), image.end(), out.pixels.begin() + static_cast<std::ptrdiff_t>(i * size));
        if (success) state.nearest = far;
      }
      if (!nearest && success && t > kCodeFirstReturn) state.done = true;
      if (t == s.steps || state.done) continue;
      for (std::size_t k = 0; k < size; ++k) {
        const double slope = 2 * image_of(state.w[k]) - 1;  // tanh(w); d(image)/dw = (1 - tanh^2) / 2
        gradient[k] = (gradient[k] + static_cast<double>(g.gradient[i * size + k])) * (1 - slope * slope) / 2;
      }
      adam_step(state, gradient, e.learning_rate, t + 1);
      show(i);
    }
  }
  return out;
}

}  // namespace offramp::attacks::evasion
