// The sections of an audit, one file each. Every one takes what there is and says what it lacks.
#pragma once

#include "tools/frame/verb.h"
#include "tools/verbs/audit/target.h"

namespace offramp::tools::audit {

// What they share: the session for progress and interruption, and where long work keeps its files.
struct Work {
  Session& session;
  const Settings& settings;
  const Budget& budget;
  std::filesystem::path folder;
};

Section audit_model(Work& work, const Target& target);
// Asks a target for its times; kept in folder/trace.
Measured measure(Work& work, const Target& target);
Section audit_exit_timing(Work& work, const Measured& measured);
Section audit_attribute(Work& work, const Measured& measured);
Section audit_membership(Work& work, const Target& target);
Section audit_slowdown(Work& work, const Target& target);
Section audit_defences(Work& work, const Target& target, const Measured& measured);
Section audit_extraction(Work& work, const Target& target);

// The results.
struct Head {
  std::string target, kind, data;  // as given; "model", "times"; the data set
  nlohmann::ordered_json settings;
};
std::string text_of(const Head& head, const std::vector<Section>& sections);
nlohmann::ordered_json json_of(const Head& head, const std::vector<Section>& sections);
std::string html_of(const Head& head,
                    const std::vector<Section>& sections,
                    const std::string& config,
                    const std::string& environment);
nlohmann::ordered_json sarif_of(const Head& head, const std::vector<Section>& sections);
std::string card_of(const Head& head, const std::vector<Section>& sections);

}  // namespace offramp::tools::audit
