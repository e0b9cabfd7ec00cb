// Attacks by one number a record (specs/membership.md 4.5; Song and Mittal, Systematic evaluation of privacy risks, USENIX
// Security 2021): an attacker who sees scores, or labels alone, and chooses thresholds on a shadow net. Cheap, and often as
// good as the nets: what a stronger attack must beat.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "attacks/membership/attack_functions.h"
#include "base/errors.h"

namespace offramp::attacks::membership {
namespace {

using ScoreOf = double (*)(const Records&, std::size_t);

double log_of(double p) { return std::log(std::max(p, 1e-30)); }

double correctness(const Records& r, std::size_t i) { return r.correct(i) ? 1 : 0; }
// -loss orders records as the probability of the true class does, and still does where that is 1 in a float.
double confidence(const Records& r, std::size_t i) { return -r.loss[i]; }
double negative_entropy(const Records& r, std::size_t i) {
  double sum = 0;
  for (const float p : r.scores_of(i)) sum += static_cast<double>(p) * log_of(static_cast<double>(p));
  return sum;
}
// (1 - p_y) ln p_y + sum over the others of p_c ln(1 - p_c): minus the modified entropy.
double negative_modified_entropy(const Records& r, std::size_t i) {
  const auto p = r.scores_of(i);
  double sum = 0;
  for (std::size_t c = 0; c < p.size(); ++c) {
    const double q = static_cast<double>(p[c]);
    sum += static_cast<std::int32_t>(c) == r.label[i] ? (1 - q) * log_of(q) : q * log_of(1 - q);
  }
  return sum;
}

AttackOutcome by_score(const Evidence& e,
                       const AttackSettings& settings,
                       ScoreOf score_of,
                       bool any_classes) {
  check(e, any_classes);
  const auto all = [&](const Records& r, std::vector<std::size_t>& records, std::vector<double>& scores) {
    records.resize(r.size());
    std::iota(records.begin(), records.end(), std::size_t{0});
    for (const std::size_t i : records) scores.push_back(score_of(r, i));
  };
  std::vector<std::size_t> shadow, target;
  std::vector<double> shadow_scores, target_scores;
  all(e.shadow, shadow, shadow_scores);
  all(e.target, target, target_scores);
  return decide_by_thresholds(e,
                              settings,
                              shadow,
                              shadow_scores,
                              target,
                              target_scores,
                              settings.groups == ThresholdGroups::kClass && !any_classes);
}

// Where everybody or nobody of a group is called a member, a threshold beyond the group's scores that says so too: with an infinite
// one the ranking within the group would be lost.
std::vector<double> finite_thresholds(std::vector<double> thresholds, const stats::GroupedScores& records) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  std::vector<double> least(thresholds.size(), kInfinity), most(thresholds.size(), -kInfinity);
  for (std::size_t i = 0; i < records.score.size(); ++i) {
    const auto g = static_cast<std::size_t>(records.group[i]);
    if (!std::isfinite(records.score[i])) continue;
    least[g] = std::min(least[g], records.score[i]);
    most[g] = std::max(most[g], records.score[i]);
  }
  for (std::size_t g = 0; g < thresholds.size(); ++g) {
    if (std::isfinite(thresholds[g]) || !std::isfinite(least[g])) continue;
    thresholds[g] = thresholds[g] > 0 ? most[g] : std::nextafter(least[g], -kInfinity);
  }
  return thresholds;
}

}  // namespace

AttackOutcome decide_by_thresholds(const Evidence& e,
                                   const AttackSettings& settings,
                                   std::span<const std::size_t> shadow_records,
                                   std::span<const double> shadow_scores,
                                   std::span<const std::size_t> target_records,
                                   std::span<const double> target_scores,
                                   bool by_class) {
  struct Side {
    std::vector<std::uint8_t> member;
    std::vector<std::int32_t> group;
  };
  const auto side =
      [&](const Records& r, std::span<const std::size_t> records, std::span<const std::int32_t> exits) {
        Side out;
        for (const std::size_t i : records) {
          out.member.push_back(r.member[i]);
          out.group.push_back(e.hybrid() ? exits[i] - 1 : by_class ? r.label[i] : 0);
        }
        return out;
      };
  const Side shadow = side(e.shadow, shadow_records, e.shadow.exit);
  const Side target = side(e.target, target_records, e.target_exits);
  const auto groups = static_cast<std::size_t>(e.hybrid() ? e.num_exits() : by_class ? e.shadow.classes : 1);
  const auto thresholds = stats::group_thresholds(
      {shadow_scores, shadow.member, shadow.group}, groups, settings.empty, settings.search);
  const stats::GroupedScores grouped{target_scores, target.member, target.group};
  AttackOutcome out;
  out.record.assign(target_records.begin(), target_records.end());
  out.decision = stats::decide(grouped, thresholds);
  const std::vector<double> zero = finite_thresholds(thresholds.threshold, grouped);
  for (std::size_t i = 0; i < target_scores.size(); ++i)
    out.score.push_back(target_scores[i] - zero[static_cast<std::size_t>(target.group[i])]);
  if (e.hybrid()) out.by_exit = stats::grouped_accuracy(grouped, out.decision, thresholds);
  return out;
}

AttackOutcome correctness_attack(const Evidence& e, const AttackSettings& s) {
  return by_score(e, s, correctness, true);
}
AttackOutcome confidence_attack(const Evidence& e, const AttackSettings& s) {
  return by_score(e, s, confidence, false);
}
AttackOutcome entropy_attack(const Evidence& e, const AttackSettings& s) {
  return by_score(e, s, negative_entropy, false);
}
AttackOutcome modified_entropy_attack(const Evidence& e, const AttackSettings& s) {
  return by_score(e, s, negative_modified_entropy, false);
}

}  // namespace offramp::attacks::membership
