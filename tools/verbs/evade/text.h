// Measures of evasion studies as JSON, table cells and figures.
#pragma once

#include "attacks/evasion/measures.h"
#include "tools/frame/run_folder.h"
#include "tools/verbs/evade/inputs.h"

#include <nlohmann/json.hpp>

#include <span>
#include <string>
#include <vector>

namespace offramp::tools::evade {

nlohmann::ordered_json json_of(const stats::Interval& interval);
nlohmann::ordered_json json_of(const attacks::evasion::Rate& rate);  // share null where there is nothing
nlohmann::ordered_json json_of(const attacks::evasion::ExitChange& change);
nlohmann::ordered_json json_of(const attacks::evasion::FirstModified& first);
nlohmann::ordered_json json_of(const attacks::evasion::EarlyTransfer& early);
nlohmann::ordered_json json_of(const attacks::evasion::VictimFlags& flags);
nlohmann::ordered_json json_of(const MadeExamples& made);

std::string percent(const attacks::evasion::Rate& rate);                // "41.3", or "-"
std::string percent_with_interval(const attacks::evasion::Rate& rate);  // "41.3 [38.2, 44.4]"
// What to say of a victim on which a failed attack would prove little; empty: nothing.
std::string warning_of(const attacks::evasion::VictimFlags& flags, const std::string& name);

// Share of images per exit, one series each.
struct ExitSeries {
  std::string name;
  std::vector<int> counts;
};
std::string exit_bars(const std::string& title, std::span<const ExitSeries> series);
// Share of images per value of Delta.
struct DeltaSeries {
  std::string name;
  std::vector<int> delta;
};
std::string delta_density(const std::string& title, std::span<const DeltaSeries> series, int num_exits);

// The figure as plots/NAME.svg of the run.
void write_plot(RunFolder& folder, const std::string& name, const std::string& svg);

}  // namespace offramp::tools::evade
