#pragma once
// A whole extraction, from a plan to an outcome (specs/extraction.md; v1 and v2 of the papers).
//
// Threat model: the attacker sends images of his own and sees probabilities and running times; he knows neither the
// victim's net nor its exits. Stages: query, estimate the exits from time, fit a copy (beside it the Knockoff baseline,
// which ignores the exits), search thresholds under which the copy leaves where the victim left. The score belongs to
// the owner, who knows the victim. Defaults are those of the papers where they state any.
//
// Ablations (specs/extraction.md 7.4, 9): no strategy loss is fit.lambda 0, no search is `searched`, separable against
// joint is search.options.objective, exits that are known is `true_exits`. v1 and v2 are as_published().
//
// Files in plan.folder: trace/, estimate.json, assignment.csv, checkpoints/NAME.safetensors (copies in training),
// NAME.safetensors (copies with thresholds), confidences.csv, strategy.json. The same call goes on from them.
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attacks/baselines/baselines.h"
#include "attacks/extraction/stages.h"
#include "attacks/query/shown.h"

namespace offramp::attacks {

struct ExtractionPlan {
  std::filesystem::path folder;
  // The owner's checkpoint: asked through a black box on one thread, and the measure of the score.
  std::filesystem::path victim;
  // Asked instead, where given. Without `victim` nothing is scored.
  BlackBox* black_box = nullptr;
  data::ImageSet queries, test;       // no test set: nothing is scored
  std::optional<Device> device = {};  // of copies, estimate, search and score; default: the CPU

  QueryOptions query = {};
  EstimatePlan estimate = {};
  CopyPlan copy = {};
  bool with_knockoff = true;
  std::optional<double> knockoff_learning_rate = {};  // default: that of the copy
  // Other thefts beside it, each with a budget of one query a picture (attacks/baselines).
  std::vector<Baseline> baselines = {};
  BaselinePlan baseline = {};  // their further settings; method, folder, budget, images and copy are set here
  ShownOptions shown = {};     // what the victim gives away beside its time
  bool true_exits = false;     // ablation: the owner's own exits stand for the estimate
  bool searched = true;        // false, ablation: the copy has the victim's thresholds
  bool from_knockoff = false;  // the copy starts from the baseline's weights
  Counts counts = Counts::kExit;
  SearchPlan search = {};
  ScoreOptions score = {};
};

struct ExtractionOutcome {
  Trace trace;
  stats::ExitEstimate estimate;
  bool exits_told = false, number_told = false;  // by the owner (true_exits); their number by the plan
  std::vector<std::int32_t>
      fitted_exits;  // [queries] from 1: what the copy was trained on and its thresholds searched for
  StrategyResult strategy;
  std::size_t searched = 0;  // images that its thresholds were searched on; 0: they are the victim's
  bool jointly = true;       // and not each exit by itself
  std::vector<std::string> fit_names;
  std::vector<std::vector<FitEpoch>> histories;  // of the fits, in order
  std::vector<Contestant> contestants;           // victim first where it is known, then the copies; ours last
  std::vector<std::unique_ptr<nets::Network>> nets;  // behind the contestants
  // The owner's knowledge; empty where nothing is scored.
  std::vector<ContestantScore> scores;
  ExitScore exits;
  std::vector<std::int32_t> true_exits;         // of the queries
  std::map<std::string, std::int64_t> queries;  // how often each copy's theft asked the victim, by its name
};

// What the two versions of the paper differ in beside their queries. v1: changepoints, joint search. v2: valleys of a
// density, separable search against all that left elsewhere (spec 2, 4). The loss is the same set of terms in both (3.2).
enum class Version { kV1, kV2 };
void as_published(Version version, ExtractionPlan& plan);

// Throws ValueError for a plan that cannot be, before any work; Stopped where the listener asks.
ExtractionOutcome run_extraction(const ExtractionPlan& plan, Listener& listener);

}  // namespace offramp::attacks
