#pragma once
// The stages of an extraction, each one function: what `extract run`, the single verbs, the demo and run_extraction
// call. Long ones report to a listener and stop where it asks; query and fit go on where an earlier call stopped.
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attacks/extraction/listener.h"
#include "attacks/extraction/scoreboard.h"
#include "attacks/extraction/stage_files.h"
#include "attacks/extraction/substitute_training.h"
#include "attacks/query/query_run.h"

namespace offramp::attacks {

// Asks about every image; the trace is kept in `folder`.
Trace query_stage(BlackBox& victim,
                  const data::ImageSet& images,
                  const QueryOptions& options,
                  const std::filesystem::path& folder,
                  Listener& listener);

struct EstimatePlan {
  stats::EstimationOptions options = {};  // its order is that of the times
  bool raw_times = false;                 // true: the order is left aside, no speed is divided out
};
// What is computed on `device`, and with what it was done.
struct Estimated {
  stats::ExitEstimate estimate;
  nlohmann::ordered_json json;  // estimate.json
  std::vector<std::int32_t> exits() const { return {estimate.exits.begin(), estimate.exits.end()}; }
};
Estimated estimate_stage(const RecordedTimes& times,
                         const EstimatePlan& plan,
                         const Device& device,
                         Listener& listener);

// What a copy is, and how it learns.
struct CopyPlan {
  nets::NetOptions net = {};                // what `complete` fills in may be left out
  FitOptions fit = {};                      // its weight decay comes from the next
  std::optional<double> weight_decay = {};  // default: that of the reference for such a net
  bool exact_net = false;  // true: `net` has the exits that it says, not the estimated ones at equal cost
  std::filesystem::path pretrained = {};  // a net trained on something else, to start from
  nets::NetOptions complete(const data::ImageSet& images, int classes, int num_exits) const;
  // Before anybody is asked: throws ValueError where no such net takes these images or has so many exits (1: nobody knows
  // yet how many), FileError where `pretrained` cannot be read.
  void check(const data::ImageSet& images, int exits = 1) const;
  FitOptions options(FitMethod method) const;
};
struct FittedNet {
  std::unique_ptr<nets::Network> net;
  std::vector<FitEpoch> history;
};
// `name` names the checkpoint in folder/checkpoints and the progress. `start`: of another net to start from, or empty.
FittedNet fit_stage(const std::string& name,
                    const nets::NetOptions& net,
                    const FitOptions& options,
                    const std::filesystem::path& start,
                    const data::ImageSet& images,
                    const FitTargets& targets,
                    const Device& device,
                    const std::filesystem::path& folder,
                    Listener& listener);

// What the thresholds of a copy are searched on. victim_labels: see confidences_of.
Confidences confidence_stage(const nets::Network& net,
                             const data::ImageSet& images,
                             std::span<const std::int32_t> exits,
                             std::span<const std::int32_t> victim_labels,
                             Listener& listener);

struct SearchPlan {
  stats::SearchOptions options = {.time_limit_s = 60};
  int first = 0;  // only the first so many samples count: those that resemble what the copy will meet; 0: all
};
struct Searched {
  StrategyResult strategy;
  nlohmann::ordered_json json;  // strategy.json
};
Searched search_stage(Confidences confidences,
                      const SearchPlan& plan,
                      const Device& device,
                      Listener& listener);

// The owner's side; options.report is its own.
std::vector<ContestantScore> score_stage(const std::vector<Contestant>& contestants,
                                         const data::ImageSet& test,
                                         const data::ImageSet* queries,
                                         ScoreOptions options,
                                         Listener& listener);

}  // namespace offramp::attacks
