// Attacks by a small net that is trained on a shadow's records (specs/membership.md 4.1 and 4.2): on the scores (black box),
// and on scores, feature, loss, label and gradient of the last layer (white box).
#include <algorithm>
#include <functional>

#include "attacks/membership/attack_functions.h"
#include "attacks/membership/attack_net.h"
#include "base/errors.h"

namespace offramp::attacks::membership {
namespace {

NetInput one_hot(std::span<const std::int32_t> value, int width) {
  NetInput out{.width = width, .values = std::vector<float>(value.size() * static_cast<std::size_t>(width))};
  for (std::size_t i = 0; i < value.size(); ++i)
    out.values[i * static_cast<std::size_t>(width) + static_cast<std::size_t>(value[i])] = 1;
  return out;
}

NetInput exits_input(std::span<const std::int32_t> exits, int num_exits) {
  std::vector<std::int32_t> from_zero;
  for (const std::int32_t e : exits) from_zero.push_back(e - 1);
  return one_hot(from_zero, num_exits);
}

NetInput status_input(const Records& r, StatusInput kind) {
  if (kind == StatusInput::kLabel) return one_hot(r.label, r.classes);
  std::vector<std::int32_t> correct;
  for (std::size_t i = 0; i < r.size(); ++i) correct.push_back(r.correct(i) ? 1 : 0);
  return one_hot(correct, 2);
}

AttackOutcome by_net(const Evidence& e,
                     const AttackSettings& s,
                     const nets::Architecture& arch,
                     std::vector<NetInput> shadow,
                     std::vector<NetInput> target,
                     int batch) {
  if (e.hybrid()) {
    shadow.push_back(exits_input(e.shadow.exit, e.num_exits()));
    target.push_back(exits_input(e.target_exits, e.num_exits()));
  }
  const auto trained = train_attack_net(arch,
                                        shadow,
                                        e.shadow.member,
                                        target,
                                        e.target.member,
                                        {.epochs = s.epochs, .batch = batch, .seed = s.seed});
  AttackOutcome out;
  for (std::size_t i = 0; i < trained.score.size(); ++i) {
    out.record.push_back(i);
    out.decision.push_back(trained.score[i] > 0);
  }
  out.score = trained.score;
  out.best_epoch = trained.best_epoch;
  return out;
}

AttackOutcome by_scores(const Evidence& e, const AttackSettings& s, int scores) {
  return by_net(e,
                s,
                score_net(scores, e.hybrid() ? e.num_exits() : 0),
                {largest_scores(e.shadow, scores)},
                {largest_scores(e.target, scores)},
                256);
}

}  // namespace

NetInput largest_scores(const Records& r, int count) {
  NetInput out{.width = count};
  std::vector<float> sorted;
  for (std::size_t i = 0; i < r.size(); ++i) {
    const auto p = r.scores_of(i);
    sorted.assign(p.begin(), p.end());
    std::ranges::sort(sorted, std::greater<>());
    out.values.insert(out.values.end(), sorted.begin(), sorted.begin() + count);
  }
  return out;
}

std::vector<NetInput> white_box_inputs(const Records& r, StatusInput status) {
  std::vector<NetInput> out = {largest_scores(r, r.classes),
                               {.width = 1},
                               status_input(r, status),
                               {.width = r.feature_size, .values = r.feature},
                               {.width = 225}};
  std::vector<double> error;
  for (std::size_t i = 0; i < r.size(); ++i) {
    out[1].values.push_back(static_cast<float>(r.loss[i]));
    const auto p = r.scores_of(i);
    error.assign(p.begin(), p.end());
    error[static_cast<std::size_t>(r.label[i])] -= 1;
    const auto windows = gradient_windows(error, r.feature_of(i));
    out[4].values.insert(out[4].values.end(), windows.begin(), windows.end());
  }
  return out;
}

AttackOutcome score_top3_attack(const Evidence& e, const AttackSettings& s) {
  check(e, true);
  return by_scores(e, s, std::min({3, e.shadow.classes, e.target.classes}));
}

AttackOutcome score_all_attack(const Evidence& e, const AttackSettings& s) {
  check(e, false);
  return by_scores(e, s, e.shadow.classes);
}

AttackOutcome gradient_attack(const Evidence& e, const AttackSettings& s) {
  check(e, false);
  for (const Records* r : {&e.shadow, &e.target}) {
    if (r->feature_size == 0)
      throw ValueError("gradient attack: the exits of " + (r->model.empty() ? "a net" : r->model) +
                       " have features of different sizes; train with --form two-layer");
  }
  if (e.shadow.feature_size != e.target.feature_size)
    throw ValueError("gradient attack: the shadow's features have " + std::to_string(e.shadow.feature_size) +
                     " values, the target's " + std::to_string(e.target.feature_size));
  const int status = s.status == StatusInput::kLabel ? e.shadow.classes : 2;
  return by_net(e,
                s,
                gradient_net(e.shadow.classes, status, e.shadow.feature_size, e.hybrid() ? e.num_exits() : 0),
                white_box_inputs(e.shadow, s.status),
                white_box_inputs(e.target, s.status),
                128);
}

}  // namespace offramp::attacks::membership
