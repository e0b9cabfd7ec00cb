#pragma once
// What an attack is worth, said as an audit must (specs/audit.md 1, membership.md 3): accuracy on members and non-members
// alike, AUC, members found at few false alarms with exact intervals, the control that must find nothing; and what of a
// net's losses and exits leaks whether or not anybody attacks.
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "attacks/membership/attack.h"
#include "stats/divergences.h"
#include "stats/hypothesis_tests.h"
#include "stats/membership/control.h"
#include "stats/membership/detection_point.h"
#include "stats/roc.h"

namespace offramp::attacks::membership {

struct Evaluation {
  std::string attack, adversary;  // adversary: "original", "exit told", "exit timed"
  std::size_t members = 0, non_members = 0;
  stats::Interval accuracy;  // balanced accuracy of the decisions: the papers' attack success rate
  stats::Interval auc;       // DeLong, at EvaluationOptions::auc_level
  stats::Roc roc;
  std::vector<stats::DetectionPoint> points;
  stats::MemberControl control;
  AttackOutcome outcome;
  // Against the original attack, where this one has exits: decisions that became right less those that became wrong.
  std::optional<stats::TestResult> beside_original = {};
};
struct EvaluationOptions {
  std::vector<double> false_positive_rates = {0.01, 0.001, 0};
  double auc_level = 0.95;  // of the interval of the area
  std::uint64_t seed = 1;
};
// Throws DataError where the outcome lacks members or non-members.
Evaluation evaluate(const std::string& attack,
                    const std::string& adversary,
                    AttackOutcome outcome,
                    const Records& target,
                    const EvaluationOptions& options);
// Sign test of right decisions on the records that both are about.
void compare(Evaluation& hybrid, const Evaluation& original, const Records& target);

// That the `named` highest scores are all members' where scores know nothing: drawn one by one from all of them.
double members_first_by_chance(std::size_t named, std::size_t members, std::size_t non_members);

// Losses and exits of members and non-members of one net (specs/membership.md 8, M2 to M4).
struct ExitLeak {
  std::size_t members = 0, non_members = 0;
  std::optional<stats::LossDivergence> losses = {};  // none where a side has no record
};
struct Leak {
  double accuracy_members = 0, accuracy_others = 0;
  stats::LossDivergence losses;
  double js_bits_50 = 0, js_bits_200 = 0;
  std::vector<ExitLeak> exits;
};
Leak leak_of(const Records& records);

nlohmann::ordered_json to_json(const Evaluation& evaluation, const Records& target);
nlohmann::ordered_json to_json(const Leak& leak);

}  // namespace offramp::attacks::membership
