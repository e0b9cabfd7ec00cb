#pragma once
// Membership attacks that learn from one shadow net (specs/membership.md 4 and 5), behind one table. Each takes the records
// of the shadow, whose members the attacker knows, and those of the target, and says of each target record how much it
// looks like a member, and whether it calls it one.
//
// The same attack is the original one without exits and the hybrid one with them: adversary 1 is told the exit of every
// target query, adversary 2 estimates it from running times (attacks/membership/exit_times.h), adversary 3 does that with a
// shadow of another net or data set.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attacks/membership/records.h"
#include "stats/membership/group_thresholds.h"

namespace offramp::attacks::membership {

// What queries with changed inputs say of some records (label-only attacks); larger: more like a member.
struct Signal {
  std::vector<std::size_t> record = {};  // [m] which records were asked about
  int columns = 0;                       // settings that were tried
  std::vector<double> value = {};        // [m, columns]
  std::int64_t queries = 0;
  double at(std::size_t i, int column) const {
    return value[i * static_cast<std::size_t>(columns) + static_cast<std::size_t>(column)];
  }
};

// What an attack may use. Exits are as the attacker knows them: the shadow's are always true.
struct Evidence {
  const Records& shadow;
  const Records& target;
  std::span<const std::int32_t> target_exits = {};  // [target] from 1; empty: the original attack
  const Signal* shadow_signal = nullptr;            // for label-only attacks
  const Signal* target_signal = nullptr;
  bool hybrid() const { return !target_exits.empty(); }
  // The largest exit seen by either side: how many the attacker counts.
  int num_exits() const;
};

enum class ThresholdGroups { kClass, kOne };  // of the original threshold attacks; hybrid ones go by exit
enum class StatusInput {
  kCorrect,
  kLabel
};  // of the gradient attack: the code's bit, the paper's one-hot label

struct AttackSettings {
  std::uint64_t seed = 1;
  int epochs = 100;  // of the attack nets
  ThresholdGroups groups = ThresholdGroups::kClass;
  StatusInput status = StatusInput::kCorrect;
  // An exit whose shadow records are all members or all non-members: our reading, or the CCS code's.
  stats::EmptyGroup empty = stats::EmptyGroup::kCommon;
  stats::ThresholdSearch search = stats::ThresholdSearch::kBalanced;
};

struct AttackOutcome {
  std::vector<std::size_t> record = {};                // [m] target records that it is about
  std::vector<double> score = {};                      // [m] larger: more like a member
  std::vector<std::uint8_t> decision = {};             // [m] 1: called a member
  std::optional<stats::GroupedAccuracy> by_exit = {};  // of attacks with a threshold for each exit
  // Attack nets: best balanced accuracy on the target over all epochs. What the CCS code prints, and no attacker can choose.
  std::optional<double> best_epoch = {};
  // Label-only attacks: the same with the setting and threshold that are best on the target itself, an upper bound.
  std::optional<double> upper_bound = {};
  std::int64_t queries = 0;  // besides the one of each record
  std::string note = {};     // what the reader must know
};

enum class Needs { kLabels, kScores, kWhiteBox, kSignal };

struct Attack {
  const char* name;     // "gradient"
  const char* summary;  // one line for --help
  Needs needs;
  AttackOutcome (*run)(const Evidence&, const AttackSettings&);
};

// Throws ValueError that lists the names.
const Attack& attack_of(const std::string& name);
std::span<const Attack> attacks();

// Checks what all attacks ask of their evidence: DataError where members or non-members are missing on a side or a record is
// none, ValueError where both sides differ in classes (`any_classes` allows it) or the exits are not one a target record.
void check(const Evidence& evidence, bool any_classes);

}  // namespace offramp::attacks::membership
