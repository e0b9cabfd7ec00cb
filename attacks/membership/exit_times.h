#pragma once
// Adversary 2 of the hybrid attack (specs/membership.md 5 and 6): nobody tells the exits of the target's answers, their
// running times do. The victim is asked through attacks/query, which cannot see exits.
#include <filesystem>
#include <string>
#include <vector>

#include "attacks/extraction/listener.h"
#include "attacks/membership/records.h"
#include "attacks/query/query_run.h"
#include "nets/graph/state_dict.h"

namespace offramp::attacks::membership {

// Times of a query of each record's sample, real early exit on one thread, in the order of the records; kept in `folder`.
Trace time_records(const nets::LoadedNet& target,
                   const Samples& samples,
                   const Records& records,
                   const std::filesystem::path& folder,
                   const QueryOptions& options,
                   Listener& listener);

struct EstimatedExits {
  std::vector<std::int32_t> exits = {};  // [records] from 1
  std::size_t found = 0;                 // clusters of time that the estimator saw by itself
  bool told = false;  // it saw another number than the shadow takes exits, and was told that number
  bool reliable = false;
  std::string advice = {};
  double accuracy = 0;  // share of true exits: for the report, the attacker does not have it
};
// Clusters in the order of their times stand for the exits that the shadow's records take, in their order: an exit that is
// never taken has no time. `target` is read for its true exits alone, to say how good the estimate is.
EstimatedExits estimate_exits_of(const Trace& trace,
                                 const Records& shadow,
                                 const Records& target,
                                 int threads);

}  // namespace offramp::attacks::membership
