#include "nets/exits/exit_policy.h"

#include <cmath>

#include "base/errors.h"
#include "kernels/assert.h"
#include "nets/graph/metadata_text.h"

namespace offramp::nets {
namespace {

constexpr text::Names<ExitRule, 2> kRules{{{ExitRule::kAtLeast, ">="}, {ExitRule::kAbove, ">"}}};
constexpr text::Names<Fallback, 2> kFallbacks{
    {{Fallback::kLast, "last"}, {Fallback::kMostConfident, "most-confident"}}};

}  // namespace

ExitPolicy ExitPolicy::uniform(int num_exits, double threshold) {
  ExitPolicy policy;
  policy.thresholds.assign(static_cast<std::size_t>(num_exits - 1), threshold);
  return policy;
}

bool ExitPolicy::stops(int exit, float confidence) const {
  const auto e = static_cast<std::size_t>(exit);
  if (e >= thresholds.size()) return true;  // the last exit
  const double c = confidence;
  return rule == ExitRule::kAtLeast ? c >= thresholds[e] : c > thresholds[e];
}

void ExitPolicy::check(int num_exits) const {
  if (thresholds.empty() && num_exits > 1) {
    throw ValueError("exit policy: this net with " + std::to_string(num_exits) +
                     " exits has no thresholds yet; offramp tune chooses them");
  }
  if (static_cast<int>(thresholds.size()) != num_exits - 1) {
    throw ValueError("exit policy: a net with " + std::to_string(num_exits) + " exits wants " +
                     std::to_string(num_exits - 1) + " thresholds, got " + std::to_string(thresholds.size()));
  }
  for (const double threshold : thresholds) {
    if (std::isnan(threshold)) throw ValueError("exit policy: thresholds must be numbers, got nan");
  }
}

ExitChoice choose_exit(const ExitPolicy& policy, std::span<const float> confidence) {
  OFFRAMP_ASSERT(confidence.size() == policy.thresholds.size() + 1);
  const int last = static_cast<int>(confidence.size()) - 1;
  for (int e = 0; e < last; ++e) {
    if (policy.stops(e, confidence[static_cast<std::size_t>(e)])) return {e, e};
  }
  if (policy.fallback == Fallback::kLast) return {last, last};
  int best = 0;
  for (int e = 1; e <= last; ++e) {
    if (confidence[static_cast<std::size_t>(e)] > confidence[static_cast<std::size_t>(best)]) best = e;
  }
  return {last, best};
}

const char* to_text(ExitRule value) { return text::of(kRules, value); }
const char* to_text(Fallback value) { return text::of(kFallbacks, value); }
ExitRule exit_rule_from(const std::string& name) { return text::value_of(kRules, "exit rule", name); }
Fallback fallback_from(const std::string& name) { return text::value_of(kFallbacks, "fallback", name); }

std::map<std::string, std::string> to_metadata(const ExitPolicy& policy) {
  return {{"policy.thresholds", text::list(policy.thresholds)},
          {"policy.rule", to_text(policy.rule)},
          {"policy.fallback", to_text(policy.fallback)}};
}

ExitPolicy policy_from_metadata(const std::map<std::string, std::string>& metadata) {
  if (!metadata.contains("policy.thresholds")) return {};
  ExitPolicy policy;
  policy.thresholds =
      text::read_list<double>("policy.thresholds", text::required(metadata, "policy.thresholds"));
  policy.rule = exit_rule_from(text::required(metadata, "policy.rule"));
  policy.fallback = fallback_from(text::required(metadata, "policy.fallback"));
  return policy;
}

}  // namespace offramp::nets
