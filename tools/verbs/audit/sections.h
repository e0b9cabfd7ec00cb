// The sections of an audit, one file each. Every one takes what there is and says what it lacks.
#pragma once

#include "tools/frame/verb.h"
#include "tools/report/xy_chart.h"
#include "tools/verbs/audit/target.h"

namespace offramp::tools::audit {

// What they share: the session for progress and interruption, and where long work keeps its files.
struct Work {
  Session& session;
  const Settings& settings;
  const Budget& budget;
  std::filesystem::path folder;
  std::int64_t asked = 0;  // images that a served model was asked about by the sections before
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

// What extraction says in the end, of a net or of a served one: the picture, the best agreement and the finding.
struct Fidelity {
  const char* victim;  // "the model"
  int judged, queries;
  double best;         // agreement in [0,1]
  const char* advice;  // where no copy is faithful
};
void add_fidelity(Section& section, const std::vector<report::Series>& series, const Fidelity& fidelity);
data::ImageSet rows_of(const data::ImageSet& set, int first, int count);

// A served model: what its answers and their times say. A section's data "queries" is the number of images asked about.
Section audit_served_model(const Target& target, const Measured& measured);
Measured measure_served(Work& work, const Target& target);
Section audit_served_membership(Work& work, const Target& target);
Section audit_served_extraction(Work& work, const Target& target, const Measured& measured);
// How often to ask what: as many inputs as `room_s` seconds have time for at `each_s` seconds a question, and no more than
// three fifths of `max_queries` (0: any number) in questions. Few inputs get fewer repetitions, not less than ten.
// UsageError where max_queries is too small for any.
struct TimedPlan {
  std::int64_t inputs = 0;
  int repetitions = 0;
};
TimedPlan timed_plan(double each_s, double room_s, std::int64_t count, std::int64_t max_queries);
// With what RemoteBlackBox asks to warm up before each block.
std::int64_t questions(std::int64_t inputs, int repetitions);

// The results.
struct Head {
  std::string target, kind, data;  // as given; "model", "served model", "recorded times"; the data set
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
