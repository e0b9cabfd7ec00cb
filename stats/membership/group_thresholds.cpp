#include "stats/membership/group_thresholds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "stats/checks.h"
#include "stats/roc.h"

namespace offramp::stats {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Between two neighbouring scores: "> threshold" must hold for `above` and not for `below`.
double midway(double below, double above) {
  if (!std::isfinite(below) || !std::isfinite(above)) return below;
  const double middle = below + (above - below) / 2;
  return middle < above ? middle : below;
}

struct Sides {
  std::vector<double> members, non_members;
  bool both() const { return !members.empty() && !non_members.empty(); }
};

void check_grouped(const GroupedScores& r, std::size_t groups, const char* what) {
  require_same_size(r.score.size(), "scores", r.member.size(), "memberships", what);
  require_same_size(r.score.size(), "scores", r.group.size(), "groups", what);
  for (std::size_t i = 0; i < r.score.size(); ++i) {
    if (r.member[i] > 1) {
      throw DataError(std::string(what) + ": expected a membership of 0 or 1, got " +
                      std::to_string(r.member[i]) + " at index " + std::to_string(i));
    }
    if (r.group[i] < 0 || static_cast<std::size_t>(r.group[i]) >= groups) {
      throw DataError(std::string(what) + ": expected a group from 0 to " + std::to_string(groups) +
                      ", the last left out, got " + std::to_string(r.group[i]) + " at index " +
                      std::to_string(i));
    }
  }
}

double chosen(const Sides& sides, ThresholdSearch search) {
  return (search == ThresholdSearch::kBalanced ? balanced_threshold(sides.members, sides.non_members)
                                               : art_grid_threshold(sides.members, sides.non_members))
      .threshold;
}

}  // namespace

BalancedThreshold balanced_threshold(std::span<const double> member_scores,
                                     std::span<const double> non_member_scores) {
  const Roc roc = roc_curve(member_scores, non_member_scores);
  std::size_t best = 0;
  double accuracy = 0.5;
  for (std::size_t i = 1; i < roc.points.size(); ++i) {
    const double here = (roc.points[i].tpr + 1 - roc.points[i].fpr) / 2;
    if (here > accuracy) {
      accuracy = here;
      best = i;
    }
  }
  const auto score_at = [&](std::size_t i) { return roc.points[i].threshold; };
  if (best == 0) return {kInfinity, accuracy};
  if (best + 1 == roc.points.size()) return {-kInfinity, accuracy};
  return {midway(score_at(best + 1), score_at(best)), accuracy};
}

BalancedThreshold art_grid_threshold(std::span<const double> member_scores,
                                     std::span<const double> non_member_scores) {
  double top = 0;
  for (const auto& side : {member_scores, non_member_scores}) {
    require_some(side, "art_grid_threshold", "scores of one side");
    for (const double s : side) {
      if (!std::isfinite(s)) throw DataError("art_grid_threshold: expected finite scores, got " + to_text(s));
      if (s < 0) throw ValueError("art_grid_threshold: the grid begins at 0, a score is " + to_text(s));
      top = std::max(top, s);
    }
  }
  const double all = static_cast<double>(member_scores.size() + non_member_scores.size());
  double best_accuracy = -1;
  BalancedThreshold best;
  for (int j = 1; j <= 99; ++j) {
    const double tau = j * top / 100;
    const auto above = [tau](std::span<const double> side) {
      return static_cast<double>(std::ranges::count_if(side, [tau](double s) { return s > tau; }));
    };
    const double found = above(member_scores), alarms = above(non_member_scores);
    const double negatives = static_cast<double>(non_member_scores.size());
    const double accuracy = (found + negatives - alarms) / all;
    if (accuracy > best_accuracy) {
      best_accuracy = accuracy;
      best = {tau, (found / static_cast<double>(member_scores.size()) + 1 - alarms / negatives) / 2};
    }
  }
  return best;
}

GroupThresholds group_thresholds(const GroupedScores& known,
                                 std::size_t groups,
                                 EmptyGroup empty,
                                 ThresholdSearch search) {
  check_grouped(known, groups, "group_thresholds");
  Sides all;
  std::vector<Sides> of(groups);
  for (std::size_t i = 0; i < known.score.size(); ++i) {
    for (Sides* to : {&all, &of[static_cast<std::size_t>(known.group[i])]}) {
      (known.member[i] ? to->members : to->non_members).push_back(known.score[i]);
    }
  }
  const double common = chosen(all, search);
  GroupThresholds out;
  double previous = 0;
  for (std::size_t g = 0; g < groups; ++g) {
    out.own.push_back(of[g].both());
    previous = of[g].both() ? chosen(of[g], search) : empty == EmptyGroup::kCommon ? common : previous;
    out.threshold.push_back(previous);
  }
  return out;
}

std::vector<std::uint8_t> decide(const GroupedScores& records, const GroupThresholds& thresholds) {
  check_grouped(records, thresholds.threshold.size(), "decide");
  std::vector<std::uint8_t> out;
  for (std::size_t i = 0; i < records.score.size(); ++i) {
    if (std::isnan(records.score[i])) {
      throw DataError("decide: a score must not be NaN, got one at index " + std::to_string(i));
    }
    out.push_back(records.score[i] > thresholds.threshold[static_cast<std::size_t>(records.group[i])]);
  }
  return out;
}

GroupedAccuracy grouped_accuracy(const GroupedScores& records,
                                 std::span<const std::uint8_t> decisions,
                                 const GroupThresholds& thresholds) {
  const std::size_t groups = thresholds.threshold.size();
  check_grouped(records, groups, "grouped_accuracy");
  require_same_size(records.score.size(), "records", decisions.size(), "decisions", "grouped_accuracy");
  GroupedAccuracy out;
  out.groups.resize(groups);
  for (std::size_t i = 0; i < decisions.size(); ++i) {
    GroupResult& g = out.groups[static_cast<std::size_t>(records.group[i])];
    ++(records.member[i] ? g.members : g.non_members);
    if (decisions[i]) ++(records.member[i] ? g.members_found : g.false_alarms);
  }
  double sum = 0, weighted = 0, code = 0;
  std::size_t counted = 0, in_code = 0, of_records = 0;
  for (std::size_t i = 0; i < groups; ++i) {
    GroupResult& g = out.groups[i];
    const bool both = g.members > 0 && g.non_members > 0;
    g.accuracy = both ? (static_cast<double>(g.members_found) / static_cast<double>(g.members) + 1 -
                         static_cast<double>(g.false_alarms) / static_cast<double>(g.non_members)) /
                            2
                      : std::numeric_limits<double>::quiet_NaN();
    g.counted = both && thresholds.own[i];
    const std::size_t n = g.members + g.non_members;
    if (g.counted) {
      ++counted;
      sum += g.accuracy;
      weighted += g.accuracy * static_cast<double>(n);
      of_records += n;
    } else if (n > 0) {
      ++out.flagged;
    }
    ++in_code;
    code += both ? g.accuracy : 1;
  }
  const double nan = std::numeric_limits<double>::quiet_NaN();
  out.average = counted > 0 ? sum / static_cast<double>(counted) : nan;
  out.weighted = of_records > 0 ? weighted / static_cast<double>(of_records) : nan;
  out.as_ccs_code = in_code > 0 ? code / static_cast<double>(in_code) : nan;
  return out;
}

}  // namespace offramp::stats
