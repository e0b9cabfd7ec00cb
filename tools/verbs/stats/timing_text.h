// A verdict on timing as text, JSON and a picture: of `stats timing` and of `audit`.
#pragma once

#include "stats/timing/timing_verdict.h"

#include <nlohmann/json.hpp>

#include <string>

namespace offramp::tools {

nlohmann::ordered_json json_of(const stats::TimingVerdict& verdict, const stats::TimingTestOptions& options);
// "leaks: decile 5 differs by ..".
std::string sentence(const stats::TimingVerdict& verdict);
// The nine deciles with their intervals.
std::string decile_table(const stats::TimingVerdict& verdict);
// SVG to stand in a page: differences of the deciles, their common region, the limit.
std::string decile_chart(const std::string& title,
                         const std::string& subtitle,
                         const stats::TimingVerdict& verdict,
                         double limit_ns);

}  // namespace offramp::tools
