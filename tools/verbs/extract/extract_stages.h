// The stages of the extraction attack as the verbs and the demo run them, each with its files in one run
// folder:
//   trace/               what the victim answered, and how long it took
//   estimate.json, assignment.csv    exits from times
//   checkpoints/NAME.safetensors     a copy in training; goes on after a kill
//   NAME.safetensors     a copy with its thresholds
//   confidences.csv, strategy.json   the threshold search
// Every stage that finds its product goes on from there.
#pragma once

#include "attacks/extraction/scoreboard.h"
#include "attacks/extraction/strategy_search.h"
#include "attacks/extraction/substitute_training.h"
#include "attacks/query/query_run.h"
#include "nets/graph/state_dict.h"
#include "stats/exits/exit_estimation.h"
#include "tools/frame/verb.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace offramp::tools {

// Puts the victim of a checkpoint behind a black box on one thread and asks it about every image.
attacks::Trace query_stage(Session& session,
                           const std::filesystem::path& victim,
                           const data::ImageSet& images,
                           const attacks::QueryOptions& options,
                           const std::filesystem::path& folder);

stats::ExitEstimate estimate_stage(Session& session,
                                   const attacks::Trace& trace,
                                   const stats::EstimationOptions& options,
                                   const std::filesystem::path& folder);

struct FittedNet {
  std::unique_ptr<nets::Network> net;
  std::vector<attacks::FitEpoch> history;
  double seconds = 0;  // of the training that this call did
};
// `name` names the files and the progress line.
FittedNet fit_stage(Session& session,
                    const std::string& name,
                    const nets::NetOptions& net,
                    const attacks::FitOptions& options,
                    const std::filesystem::path& pretrained,
                    const data::ImageSet& images,
                    const attacks::FitTargets& targets,
                    const std::filesystem::path& folder);

struct SearchSettings {
  stats::SearchOptions search = {};
  bool class_counts = false;  // a sample counts only where the copy also says the victim's class
  int first_images = 0;       // only the first so many images count; 0: all
};
attacks::StrategyResult search_stage(Session& session,
                                     const nets::Network& net,
                                     const data::ImageSet& images,
                                     const attacks::Trace& trace,
                                     std::span<const std::int32_t> exits,
                                     const SearchSettings& settings,
                                     const std::filesystem::path& folder);

// attacks::scoreboard behind a progress bar; options.report is its own.
std::vector<attacks::ContestantScore> score_stage(Session& session,
                                                  const std::vector<attacks::Contestant>& contestants,
                                                  const data::ImageSet& test,
                                                  const data::ImageSet* queries,
                                                  attacks::ScoreOptions options);

// A whole attack and what it is measured with.
struct ExtractionPlan {
  std::filesystem::path victim;
  data::ImageSet queries, test;
  std::string queries_text, test_text;  // how they were named
  nets::NetOptions substitute;          // its number of exits comes from the estimate
  attacks::FitOptions fit, knockoff;
  std::filesystem::path pretrained;
  bool with_knockoff = true;
  bool from_knockoff = false;  // the copy starts from the baseline's weights; needs with_knockoff
  attacks::QueryOptions query;
  stats::EstimationOptions estimation;
  SearchSettings search;
  attacks::ScoreOptions score;
};

struct ExtractionOutcome {
  attacks::Trace trace;
  stats::ExitEstimate estimate;
  attacks::StrategyResult strategy;
  std::vector<std::string> fit_names;
  std::vector<std::vector<attacks::FitEpoch>> histories;  // of the fits, in order
  std::vector<attacks::Contestant> contestants;           // victim first, then the copies
  std::vector<std::unique_ptr<nets::Network>> nets;       // behind the contestants
  std::vector<attacks::ContestantScore> scores;
  attacks::ExitScore exits;
  std::vector<std::int32_t> true_exits;  // of the queries: the owner's knowledge
};

ExtractionOutcome run_extraction(Session& session, const ExtractionPlan& plan);

// The numbers of an outcome: for people, and for results.json.
std::string scores_text(const std::vector<attacks::ContestantScore>& scores);
nlohmann::ordered_json scores_json(const std::vector<attacks::ContestantScore>& scores);
std::string score_text(const ExtractionOutcome& outcome);
nlohmann::ordered_json score_json(const ExtractionOutcome& outcome);
// What the numbers mean, in three sentences.
std::string verdict(const ExtractionOutcome& outcome);

std::vector<std::int32_t> as_int32(const std::vector<std::size_t>& values);

}  // namespace offramp::tools
