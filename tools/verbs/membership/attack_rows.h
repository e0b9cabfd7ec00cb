#pragma once
// One attack's line in the table and in results.json.
#include <string>

#include <nlohmann/json.hpp>

#include "attacks/membership/evaluation.h"
#include "base/errors.h"
#include "tools/frame/table.h"
#include "tools/frame/verb.h"

namespace offramp::tools {

// Columns: net, attack, what is known of exits, balanced accuracy, AUC, members found at 1 % and at no false alarms.
void add_row(Table& table, const std::string& net, const attacks::membership::Evaluation& e);

// Of an attack that could not be made, which the log tells too.
nlohmann::ordered_json failed_row(Session& session,
                                  const std::string& net,
                                  const std::string& attack,
                                  const std::string& adversary,
                                  const Error& why);

}  // namespace offramp::tools
