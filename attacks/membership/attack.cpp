#include "attacks/membership/attack.h"

#include <algorithm>

#include "attacks/membership/attack_functions.h"
#include "base/errors.h"

namespace offramp::attacks::membership {
namespace {

constexpr Attack kAttacks[] = {
    {"correctness", "a sample classified right is called a member", Needs::kLabels, correctness_attack},
    {"confidence", "threshold on the probability of the true class", Needs::kScores, confidence_attack},
    {"entropy", "threshold on the entropy of the scores", Needs::kScores, entropy_attack},
    {"modified-entropy",
     "the same, knowing the true class (Song and Mittal)",
     Needs::kScores,
     modified_entropy_attack},
    {"score-top3", "a small net on the three largest scores", Needs::kScores, score_top3_attack},
    {"score-all", "a small net on all scores, sorted", Needs::kScores, score_all_attack},
    {"gradient",
     "a net on scores, feature, loss, label and last-layer gradient (white box)",
     Needs::kWhiteBox,
     gradient_attack},
    {"noise",
     "label-only: share of copies with flipped features that keep their class",
     Needs::kSignal,
     noise_attack},
    {"boundary",
     "label-only: distance to the decision boundary by HopSkipJump",
     Needs::kSignal,
     boundary_attack}};

void check_side(const Records& r, const char* side) {
  check(r, std::string("membership attack: ") + side);
  const auto members = std::ranges::count(r.member, std::uint8_t{1});
  if (members == 0 || members == static_cast<std::ptrdiff_t>(r.size()))
    throw DataError(std::string("membership attack: the records of the ") + side +
                    " must hold members and non-members, got " + std::to_string(members) + " members of " +
                    std::to_string(r.size()));
}

}  // namespace

std::span<const Attack> attacks() { return kAttacks; }

const Attack& attack_of(const std::string& name) {
  std::string known;
  for (const Attack& a : kAttacks) {
    if (name == a.name) return a;
    known += (known.empty() ? "" : ", ") + std::string(a.name);
  }
  throw ValueError("membership: unknown attack " + in_quotes(name) + "; known: " + known);
}

int Evidence::num_exits() const {
  std::int32_t most = 0;
  for (const std::int32_t e : shadow.exit) most = std::max(most, e);
  for (const std::int32_t e : target_exits) most = std::max(most, e);
  return most;
}

void check(const Evidence& e, bool any_classes) {
  check_side(e.shadow, "shadow");
  check_side(e.target, "target");
  if (!any_classes && e.shadow.classes != e.target.classes)
    throw ValueError("membership attack: the shadow tells " + std::to_string(e.shadow.classes) +
                     " classes apart, the target " + std::to_string(e.target.classes) +
                     "; score-top3, correctness and label-only attacks take that");
  if (e.hybrid() && e.target_exits.size() != e.target.size())
    throw ValueError("membership attack: expected an exit for each of " + std::to_string(e.target.size()) +
                     " target records, got " + std::to_string(e.target_exits.size()));
  for (const std::int32_t x : e.target_exits)
    if (x < 1) throw ValueError("membership attack: exits count from 1, got " + std::to_string(x));
}

}  // namespace offramp::attacks::membership
