#pragma once
// What membership attacks ask of a net, each question once: the answers lie in the run's folder and are read again when it
// goes on.
#include <string>

#include "attacks/membership/hop_skip_jump.h"
#include "attacks/membership/label_only.h"
#include "attacks/membership/records.h"
#include "tools/frame/run_folder.h"
#include "tools/verbs/membership/trained_folder.h"

namespace offramp::tools {

// Members and non-members of one net.
attacks::membership::Records records_of(RunFolder& folder,
                                        const TrainedFolder& trained,
                                        const attacks::membership::ModelSpec& spec,
                                        const attacks::membership::OpenedModel& model,
                                        attacks::Listener& listener);

// What a net says of the population (the shadow's test part), of which it has seen nobody.
attacks::membership::Records population_records(RunFolder& folder,
                                                const TrainedFolder& trained,
                                                const attacks::membership::OpenedModel& model,
                                                const std::string& name,
                                                attacks::Listener& listener);

// Multiply-adds of a non-member's query, mean, over those of the plain net.
double relative_macs(const attacks::membership::Records& records, const nets::NetCosts& costs);

// Of the attacks that ask thousands of changed inputs a record.
struct SignalQuestions {
  int per_side = 300;  // members, and non-members, asked about at each exit
  attacks::membership::NoiseOptions noise;
  attacks::membership::HopSkipJumpOptions boundary;
};
// attack: "noise" or "boundary".
attacks::membership::Signal signal_of(const std::string& attack,
                                      const SignalQuestions& questions,
                                      RunFolder& folder,
                                      const TrainedFolder& trained,
                                      const attacks::membership::OpenedModel& model,
                                      const attacks::membership::Records& records,
                                      attacks::Listener& listener);

}  // namespace offramp::tools
