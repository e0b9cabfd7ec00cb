// An interval as the answers of verbs have it.
#pragma once

#include "stats/intervals.h"

#include <nlohmann/json.hpp>

namespace offramp::tools {

inline nlohmann::ordered_json interval_json(const stats::Interval& i) {
  return {{"estimate", i.estimate}, {"low", i.low}, {"high", i.high}};
}

}  // namespace offramp::tools
