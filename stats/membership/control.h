// The control of a membership audit that must find nothing: members against members (specs/audit.md 1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <span>

#include "stats/intervals.h"

namespace offramp::stats {

// AUC with the variance of DeLong, DeLong and Clarke-Pearson (Biometrics 1988), whose interval is taken on the logit scale: on its
// own a strong attack's is too high and too narrow. Where the sides are separated that variance is 0, and the bound is the exact one
// of as many independent pairs as the smaller side has scores. DataError: no score on a side, a NaN.
Interval delong_auc(std::span<const double> positive_scores,
                    std::span<const double> negative_scores,
                    double level = 0.95);

// Parts the members: reorders their scores, whose first half stands for members.
using Halving = std::function<void(std::span<double>, std::mt19937_64&)>;
void halve_at_random(std::span<double> scores, std::mt19937_64& rng);

struct MemberControl {
  std::size_t repetitions = 0, inside = 0;
  double mean_auc = 0.5;
  // 95 % of the repetitions should lie inside; below 7 in 8 something else than chance is at work. (A report has a hundred
  // attacks: of 200 true repetitions fewer than 175 lie inside once in 100,000.) Where members share their scores no interval
  // of 95 % misses in one halving of 20: of four wrong members in 1,252 all fall on one side in every eighth. As many misses
  // are then allowed as that chance gives, again but for once in 100,000.
  bool passed = false;
  double allowed_share = 0.05;  // of misses, by chance
};
// The members split in two, one half called non-members, `repetitions` times: how often the 95 % interval of the AUC holds
// 0.5. DataError: fewer than four members.
MemberControl member_control(std::span<const double> member_scores,
                             std::size_t repetitions = 200,
                             std::uint64_t seed = 1,
                             const Halving& halve = halve_at_random);

}  // namespace offramp::stats
