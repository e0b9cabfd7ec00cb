#pragma once
// When a sample leaves (specs: training 4). Exits are walked in order; a sample stops at the first internal
// classifier whose confidence (largest softmax probability) reaches its threshold.
#include <map>
#include <span>
#include <string>
#include <vector>

#include "stats/search/exit_rule.h"

namespace offramp::nets {

using stats::ExitRule;
using stats::Fallback;
using stats::to_text;

struct ExitPolicy {
  std::vector<double> thresholds;  // one per internal classifier; may lie outside [0,1]
  ExitRule rule = ExitRule::kAtLeast;
  Fallback fallback = Fallback::kLast;

  static ExitPolicy uniform(int num_exits, double threshold);
  // exit from 0.
  bool stops(int exit, double confidence) const;
  // Throws ValueError where the thresholds do not fit a net of num_exits, or one is not a number.
  void check(int num_exits) const;
  friend bool operator==(const ExitPolicy&, const ExitPolicy&) = default;
};

struct ExitChoice {
  int stopped = 0;   // exits that were computed, minus 1: what the sample costs (from 0)
  int answered = 0;  // the exit whose output is returned (from 0); differs with Fallback::kMostConfident
};
// confidence [num_exits] of one sample.
ExitChoice choose_exit(const ExitPolicy& policy, std::span<const double> confidence);

ExitRule exit_rule_from(const std::string& text);  // throw ValueError that lists what is known
Fallback fallback_from(const std::string& text);
// "policy.thresholds" (17 digits), "policy.rule", "policy.fallback".
std::map<std::string, std::string> to_metadata(const ExitPolicy& policy);
// Throws ValueError on an unreadable value; a missing policy is one without thresholds.
ExitPolicy policy_from_metadata(const std::map<std::string, std::string>& metadata);

}  // namespace offramp::nets
