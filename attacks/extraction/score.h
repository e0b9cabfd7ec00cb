#pragma once
// How good a stolen copy is (specs/extraction.md 5). This is the one place of the attack that knows the
// victim's own exits: the owner, who audits, gives them; nothing here flows back into an attack.
//
// ACC: accuracy under early exit. CLO: share of samples with the victim's class AND exit, also each alone.
// CC: total cost of a set, in true MACs, in the profiler's operations (what the papers print) and in measured
// time; ratios are substitute / victim.
#include <cstdint>
#include <span>
#include <vector>

#include "attacks/extraction/images.h"
#include "nets/data/image_set.h"
#include "nets/exits/exit_policy.h"
#include "nets/graph/cost.h"
#include "nets/graph/network.h"

namespace offramp::attacks {

// What a net under its policy does with each sample of a set, frozen (nets/exits/frozen.h) as behind the black box.
struct Behaviour {
  std::vector<std::int32_t> label;  // [n]
  std::vector<std::int32_t> exit;   // [n] from 1: where it stopped, what it cost
  std::vector<float> confidence;    // [n] of the answer
};
Behaviour behaviour_of(const nets::Network& net,
                       const nets::ExitPolicy& policy,
                       const data::ImageSet& images,
                       const ImagesDone& report = {});

struct Spending {
  double macs = 0, ops_profiler = 0;   // totals over the set
  std::vector<std::int64_t> per_exit;  // [num_exits] samples that stopped there
};
Spending spending_of(const Behaviour& behaviour, const nets::NetCosts& costs);

// Share of equal answers, in [0,1]. Throws ValueError where the sizes differ or are 0.
double accuracy_of(const Behaviour& behaviour, std::span<const std::int32_t> truth);
struct Agreement {
  double class_and_exit = 0, only_class = 0, only_exit = 0;
};
Agreement agreement_of(const Behaviour& victim, const Behaviour& substitute);

// The estimate against the truth.
struct ExitScore {
  double accuracy = 0;                            // share of samples with the right exit
  bool count_right = false;                       // as many exits as there are
  std::vector<std::vector<std::int64_t>> counts;  // [true exit - 1][estimated exit - 1]
};
ExitScore score_exits(std::span<const std::int32_t> truth,
                      int true_exits,
                      std::span<const std::int32_t> estimated,
                      int estimated_exits);

// Thresholds of a victim on a net with another number of exits: the victim's where the counts agree, else
// their mean at every exit (oracle-notes B15 takes one tau).
nets::ExitPolicy policy_for(const nets::ExitPolicy& victim, int num_exits);

}  // namespace offramp::attacks
