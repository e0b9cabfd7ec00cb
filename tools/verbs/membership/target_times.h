// The timed adversary's measurements of a target (specs/membership.md 6), as membership attack takes them.
#pragma once

#include "attacks/membership/exit_times.h"
#include "tools/frame/verb.h"
#include "tools/verbs/membership/trained_folder.h"

namespace offramp::tools {

struct TargetTimes {
  attacks::QueryOptions query{.repetitions = 10};
  std::filesystem::path defence;  // defence.json before the target; empty: none
  int tenants = 0;                // other targets of the run that answer queries meanwhile
};

// Asks the target of `k` exits for the times of its records, on one thread, and estimates its exits from them. The trace lies
// in DIR/traces/MODEL; undefended times join the records. `json` is told of the defence and how good the estimate is. Throws
// UsageError where the run has too few other targets for the tenants.
attacks::membership::EstimatedExits time_target(Session& session,
                                                RunFolder& folder,
                                                attacks::Listener& listener,
                                                const TrainedFolder& target,
                                                int k,
                                                const TargetTimes& times,
                                                attacks::membership::Records& on_target,
                                                const attacks::membership::Records& on_shadow,
                                                nlohmann::ordered_json& json);

}  // namespace offramp::tools
