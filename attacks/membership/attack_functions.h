#pragma once
// The functions behind the rows of attack.cpp's table; each stands in the file of its kind.
#include "attacks/membership/attack.h"

namespace offramp::attacks::membership {

// threshold_attacks.cpp
AttackOutcome correctness_attack(const Evidence&, const AttackSettings&);
AttackOutcome confidence_attack(const Evidence&, const AttackSettings&);
AttackOutcome entropy_attack(const Evidence&, const AttackSettings&);
AttackOutcome modified_entropy_attack(const Evidence&, const AttackSettings&);
// net_attacks.cpp
AttackOutcome score_top3_attack(const Evidence&, const AttackSettings&);
AttackOutcome score_all_attack(const Evidence&, const AttackSettings&);
AttackOutcome gradient_attack(const Evidence&, const AttackSettings&);
// label_only.cpp
AttackOutcome noise_attack(const Evidence&, const AttackSettings&);
AttackOutcome boundary_attack(const Evidence&, const AttackSettings&);

// Decides by thresholds that are best on the shadow: one a class (or one for all), in a hybrid attack one an exit. Scores
// are [records] of their side; the outcome's are those less the threshold of the record's group.
AttackOutcome decide_by_thresholds(const Evidence& evidence,
                                   const AttackSettings& settings,
                                   std::span<const std::size_t> shadow_records,
                                   std::span<const double> shadow_scores,
                                   std::span<const std::size_t> target_records,
                                   std::span<const double> target_scores,
                                   bool by_class);

}  // namespace offramp::attacks::membership
