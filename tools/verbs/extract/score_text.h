// The numbers of an extraction: for people, and for results.json.
#pragma once

#include "attacks/extraction/extraction.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace offramp::tools {

std::string scores_text(const std::vector<attacks::ContestantScore>& scores);
nlohmann::ordered_json scores_json(const std::vector<attacks::ContestantScore>& scores);
std::string score_text(const attacks::ExtractionOutcome& outcome);
nlohmann::ordered_json score_json(const attacks::ExtractionOutcome& outcome);
// What the numbers mean, in three sentences.
std::string verdict(const attacks::ExtractionOutcome& outcome);

}  // namespace offramp::tools
