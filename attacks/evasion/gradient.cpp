#include "attacks/evasion/gradient.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>

#include "base/errors.h"
#include "engine/ops.h"
#include "engine/recording.h"

namespace offramp::attacks::evasion {
namespace {

std::size_t row_size(const Tensor& t) {
  return static_cast<std::size_t>(t.size()) / static_cast<std::size_t>(std::max(1, t.shape().n()));
}

Tensor as_rows(const Tensor& t) { return t.shape().rank() == 4 ? flatten(t) : t; }

class Walk {
 public:
  Walk(const Victim& victim, const ExitPath& path, const LogitLoss& loss, Gradients& out)
      : victim_(victim),
        path_(path),
        loss_(loss),
        out_(out),
        confidence_(asks_confidence() ? out.at_exit.size() : 0),
        answered_(out.exit.size(), -1) {}

  // Gradients of the loss of `samples` (one per row of the features) with respect to the features that enter segment s.
  std::vector<Tensor> back(int s, const nets::Features& features, const std::vector<std::int32_t>& samples) {
    std::vector<Target> targets;
    for (const Tensor& f : features) targets.push_back({f, {}});
    Recording recording(targets);
    nets::Segment segment = victim_.gradient_net().forward_segment(s, features);
    if (segment.logits.dtype() != DType::kFloat32) throw ValueError("evade: expected logits in float32");

    const std::vector<float> z = segment.logits.to_host<float>();
    std::vector<float> logit_cotangent(z.size(), 0.f);
    const Decision decision = decide(s, segment.logits, z, samples, logit_cotangent);

    // One tensor holds what comes out: the maps, where some samples go on, and the logits, where a loss looks at them.
    std::vector<Tensor> parts;
    if (!decision.stay.empty()) {
      for (const Tensor& map : segment.features) parts.push_back(as_rows(map));
    }
    if (decision.looked) parts.push_back(as_rows(segment.logits));
    if (parts.empty()) return zeros(features);
    const Tensor y = parts.size() == 1 ? parts[0] : concat_channels(parts);

    std::vector<std::vector<float>> behind;  // per map, of the samples that go on
    if (!decision.stay.empty()) {
      nets::Features next;
      if (decision.stay.size() == samples.size()) {
        next = std::move(segment.features);
      } else {
        const Tensor rows = Tensor::from<std::int32_t>(
            {static_cast<std::int64_t>(decision.stay.size())}, decision.stay, victim_.device);
        for (const Tensor& map : segment.features) next.push_back(gather_rows(map, rows));
        segment.features.clear();
      }
      std::vector<std::int32_t> left;
      for (const std::int32_t row : decision.stay) left.push_back(samples[static_cast<std::size_t>(row)]);
      for (const Tensor& g : back(s + 1, next, left)) behind.push_back(g.to_host<float>());
      if (may_answer_earlier()) look_back(s, z, samples, decision, logit_cotangent);
    }
    if (!recording.wants(y)) return zeros(features);  // nothing of it depends on the features
    const GradMap map = recording.grad(y, cotangent(y, decision, behind, logit_cotangent));
    std::vector<Tensor> result;
    for (const Tensor& f : features) result.push_back(map[f]);
    return result;
  }

 private:
  struct Decision {
    std::vector<std::int32_t> stay;  // rows that go on
    bool looked = false;             // the loss looks at some row here, or may once the others are walked
  };

  static std::vector<Tensor> zeros(const nets::Features& features) {
    std::vector<Tensor> result;
    for (const Tensor& f : features) result.push_back(Tensor::zeros(f.shape(), f.device()));
    return result;
  }

  bool leaves(int s, float confidence) const {
    if (s == victim_.num_exits() - 1) return true;
    switch (path_.through) {
      case Through::kExitTaken:
        return victim_.policy.stops(s, confidence);
      case Through::kOneExit:
        return s == path_.exit;
      case Through::kInternalExits:
        return s == victim_.num_exits() - 2;
      case Through::kAllExits:
        break;
    }
    return false;
  }
  bool sees_every_exit() const {
    return path_.through == Through::kAllExits || path_.through == Through::kInternalExits;
  }
  bool asks_confidence() const { return path_.through == Through::kExitTaken; }
  // A sample that nobody stopped is answered by its most confident exit, known only behind the last.
  bool may_answer_earlier() const {
    return asks_confidence() && victim_.policy.fallback == nets::Fallback::kMostConfident;
  }

  void look(int s, std::span<const float> z, std::int32_t sample, std::span<float> cotangent) {
    std::vector<double> d(z.size(), 0);
    out_.loss[static_cast<std::size_t>(sample)] += loss_(sample, s, z, d);
    for (std::size_t c = 0; c < d.size(); ++c) cotangent[c] = static_cast<float>(d[c]);
  }

  // The loss of the samples that went on to the end and that exit s answers.
  void look_back(int s,
                 std::span<const float> z,
                 const std::vector<std::int32_t>& samples,
                 const Decision& decision,
                 std::span<float> cotangent) {
    const auto classes = static_cast<std::size_t>(victim_.classes());
    for (const std::int32_t row : decision.stay) {
      const auto at = static_cast<std::size_t>(row);
      if (answered_[static_cast<std::size_t>(samples[at])] != s) continue;
      look(s, z.subspan(at * classes, classes), samples[at], cotangent.subspan(at * classes, classes));
    }
  }

  Decision decide(int s,
                  const Tensor& logits,
                  std::span<const float> z,
                  const std::vector<std::int32_t>& samples,
                  std::span<float> cotangent) {
    const auto classes = static_cast<std::size_t>(victim_.classes());
    const auto exits = static_cast<std::size_t>(victim_.num_exits());
    std::vector<float> p;  // only where the path asks how sure the net is
    if (asks_confidence()) {
      const NoGrad no_grad;
      p = softmax(logits).to_host<float>();
    }
    Decision decision;
    for (std::size_t row = 0; row < samples.size(); ++row) {
      const auto sample = static_cast<std::size_t>(samples[row]);
      const std::span<const float> mine = z.subspan(row * classes, classes);
      const auto top = std::max_element(mine.begin(), mine.end());
      out_.exit[sample] = s;
      out_.at_exit[sample * exits + static_cast<std::size_t>(s)] =
          static_cast<std::int32_t>(top - mine.begin());
      float sure = 0;
      if (asks_confidence()) {
        sure = *std::max_element(p.data() + row * classes, p.data() + (row + 1) * classes);
        confidence_[sample * exits + static_cast<std::size_t>(s)] = static_cast<double>(sure);
      }
      const bool leaving = leaves(s, sure);
      int answered = s;
      if (leaving && may_answer_earlier() && s == victim_.num_exits() - 1) {
        answered =
            nets::choose_exit(victim_.policy, std::span(confidence_).subspan(sample * exits, exits)).answered;
      }
      answered_[sample] = answered;
      out_.predicted[sample] = out_.at_exit[sample * exits + static_cast<std::size_t>(answered)];
      if (!leaving) decision.stay.push_back(static_cast<std::int32_t>(row));
      if (leaving ? answered == s : sees_every_exit()) {
        decision.looked = true;
        look(s, mine, samples[row], cotangent.subspan(row * classes, classes));
      } else if (!leaving && may_answer_earlier()) {
        decision.looked = true;
      }
    }
    return decision;
  }

  // Of y's shape: what came back for the samples that went on, in their rows, and the loss's own part.
  Tensor cotangent(const Tensor& y,
                   const Decision& decision,
                   const std::vector<std::vector<float>>& behind,
                   const std::vector<float>& of_logits) const {
    const std::size_t width = row_size(y);
    const auto n = static_cast<std::size_t>(y.shape().n());
    std::vector<float> all(n * width, 0.f);
    std::size_t column = 0;
    for (const std::vector<float>& part : behind) {
      const std::size_t size = part.size() / decision.stay.size();
      for (std::size_t i = 0; i < decision.stay.size(); ++i) {
        std::memcpy(all.data() + static_cast<std::size_t>(decision.stay[i]) * width + column,
                    part.data() + i * size,
                    size * sizeof(float));
      }
      column += size;
    }
    if (decision.looked) {
      const std::size_t classes = of_logits.size() / n;
      for (std::size_t i = 0; i < n; ++i) {
        std::memcpy(all.data() + i * width + column, of_logits.data() + i * classes, classes * sizeof(float));
      }
    }
    return Tensor::from<float>(y.shape(), all, victim_.device);
  }

  const Victim& victim_;
  const ExitPath& path_;
  const LogitLoss& loss_;
  Gradients& out_;
  std::vector<double> confidence_;      // [n, num_exits] where the path asks how sure the net is
  std::vector<std::int32_t> answered_;  // [n] of the exits that were computed the one whose output counts
};

}  // namespace

void check(const ExitPath& path, const Victim& victim) {
  if (path.through == Through::kOneExit && (path.exit < 0 || path.exit >= victim.num_exits())) {
    throw ValueError("evade: " + victim.name + " has exits 1 to " + std::to_string(victim.num_exits()) +
                     ", asked for exit " + std::to_string(path.exit + 1));
  }
  if (path.through == Through::kInternalExits && victim.num_exits() < 2) {
    throw ValueError("evade: expected a victim with internal classifiers, " + victim.name + " has one exit");
  }
}

Gradients gradients(const Victim& victim, const Images& images, const ExitPath& path, const LogitLoss& loss) {
  check(path, victim);
  if (victim.before_gradient) victim.before_gradient();
  const auto n = static_cast<std::size_t>(images.n);
  Gradients out{.gradient = {},
                .loss = std::vector<double>(n, 0),
                .exit = std::vector<std::int32_t>(n, 0),
                .predicted = std::vector<std::int32_t>(n, 0),
                .at_exit = std::vector<std::int32_t>(n * static_cast<std::size_t>(victim.num_exits()), -1)};
  Walk walk(victim, path, loss, out);
  // With weights packed once, in parts whose activations the cache holds from layer to layer and back: twice as many as one
  // thread does best with (evasion_bench, two threads, MobileNet: 1.93 s with 16, 1.53 with 32).
  const bool in_parts = victim.frozen && victim.device.kind() != DeviceKind::kCuda;
  const int together = in_parts ? 2 * victim.frozen->rows_together() : images.n;
  for (int first = 0; first < images.n; first += together) {
    const Images some = part(images, first, together);
    std::vector<std::int32_t> samples(static_cast<std::size_t>(some.n));
    std::iota(samples.begin(), samples.end(), first);
    const std::vector<float> g = walk.back(0, {tensor_of(some, victim.device)}, samples)[0].to_host<float>();
    out.gradient.insert(out.gradient.end(), g.begin(), g.end());
  }
  for (std::size_t i = 0; i < out.gradient.size(); ++i) {
    if (!std::isfinite(out.gradient[i])) {
      throw NumericError("evade: expected a finite gradient of " + victim.name + ", image " +
                         std::to_string(images.numbers[i / images.size()]) + " has " +
                         std::to_string(out.gradient[i]));
    }
  }
  return out;
}

std::vector<double> loss_over_exits(const Victim& victim, const Images& images, const LogitLoss& loss) {
  const NoGrad no_grad;
  const auto classes = static_cast<std::size_t>(victim.classes());
  std::vector<double> sum(static_cast<std::size_t>(images.n), 0), unused(classes);
  nets::Features features = {tensor_of(images, victim.device)};
  for (int e = 0; e < victim.num_exits(); ++e) {
    nets::Segment segment = victim.net->forward_segment(e, features);
    features = std::move(segment.features);
    const std::vector<float> z = segment.logits.to_host<float>();
    for (int i = 0; i < images.n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      sum[at] += loss(i, e, {z.data() + at * classes, classes}, unused);
    }
  }
  return sum;
}

std::int64_t gradient_macs(const Victim& victim, std::int32_t exit) {
  constexpr int kForwardAndBackward = 3;
  return kForwardAndBackward * victim.exit_macs[static_cast<std::size_t>(exit)];
}

}  // namespace offramp::attacks::evasion
