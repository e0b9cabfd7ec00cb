#pragma once
// Adversary 2 of the hybrid attack (specs/membership.md 5 and 6): nobody tells the exits of the target's answers, their
// running times do. The victim is asked through attacks/query, which cannot see exits.
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "attacks/defences/defence_file.h"
#include "attacks/extraction/listener.h"
#include "attacks/membership/records.h"
#include "attacks/query/query_run.h"
#include "nets/graph/state_dict.h"
#include "stats/exits/machine_speed.h"

namespace offramp::attacks::membership {

// Times of a query of each record's sample, real early exit on one thread, in the order of the records; kept in `folder`.
// With `defence` before the target.
Trace time_records(const nets::LoadedNet& target,
                   const Samples& samples,
                   const Records& records,
                   const std::filesystem::path& folder,
                   const QueryOptions& options,
                   Listener& listener,
                   const Defence* defence = nullptr);

struct EstimatedExits {
  std::vector<std::int32_t> exits = {};  // [records] from 1
  std::size_t found = 0;                 // clusters of time that the estimator saw by itself
  bool told = false;  // it saw another number than the shadow takes exits, and was told that number
  bool reliable = false;
  std::string advice = {};
  double accuracy = 0;  // share of true exits: for the report, the attacker does not have it
};
// Clusters in the order of their times stand for the exits that at least kLeastShare of the shadow's records take, in their
// order: an exit that is never or hardly taken has no cluster of its own. `target` is read for its true exits alone, to say how
// good the estimate is.
inline constexpr double kLeastShare = 0.01;
EstimatedExits estimate_exits_of(const Trace& trace,
                                 const Records& shadow,
                                 const Records& target,
                                 int threads);
// The same of times [target, repetitions] in ns; `order` as in stats::EstimationOptions.
EstimatedExits estimate_exits_of(std::span<const double> times_ns,
                                 std::size_t repetitions,
                                 const stats::MeasurementOrder& order,
                                 const Records& shadow,
                                 const Records& target,
                                 int threads);

}  // namespace offramp::attacks::membership
