#pragma once
// How a training run is told: before the first step, after an epoch and at the end.
#include <string>

#include <nlohmann/json.hpp>

#include "nets/graph/network.h"
#include "nets/training/batch_source.h"
#include "tools/frame/event_file.h"
#include "tools/frame/log.h"
#include "tools/frame/table.h"
#include "tools/verbs/net/net_data.h"

namespace offramp::tools {

// Classes, exits and samples. `test_name`: "test" or "held-out"; the latter are a part of `set`.
void say_what_is_trained(Log& log,
                         const nets::Network& net,
                         const NetData& set,
                         const nets::BatchSource& test,
                         const std::string& test_name);

// A line of metrics.jsonl as scalars: numbers by their key, lists by exit.
EventFile::Scalars scalars_of(const nlohmann::ordered_json& metrics);

// One row an exit: what it costs, and its share of `test_accuracy` in the metrics.
struct ExitReport {
  Table table;
  nlohmann::ordered_json exits;
};
ExitReport exit_report(const nets::NetCosts& costs,
                       const nlohmann::ordered_json& metrics,
                       const std::string& test_name);

}  // namespace offramp::tools
