#pragma once
// LiRA and RMIA: attacks that compare what the target says with what reference nets say, which were trained on halves of its
// members and non-members.
#include <string>
#include <vector>

#include "attacks/membership/evaluation.h"
#include "attacks/membership/many_models.h"
#include "tools/frame/table.h"
#include "tools/verbs/extract/session_listener.h"
#include "tools/verbs/membership/trained_folder.h"

namespace offramp::tools {

struct ReferenceAttacks {
  std::vector<std::string> names;  // of many_model_attacks(), and "rmia"
  attacks::membership::RmiaOptions rmia;
  attacks::membership::EvaluationOptions evaluation;
};

// Asks the nets of `specs` and adds each attack to `rows` and to the table. Returns whether every control passed.
bool attack_with_references(Session& session,
                            RunFolder& folder,
                            SessionListener& listener,
                            const TrainedFolder& target,
                            const attacks::membership::OpenedModel& of_target,
                            const attacks::membership::Records& on_target,
                            const std::vector<attacks::membership::ModelSpec>& specs,
                            const ReferenceAttacks& how,
                            nlohmann::ordered_json& rows,
                            Table& table);

}  // namespace offramp::tools
