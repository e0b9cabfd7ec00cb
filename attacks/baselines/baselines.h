#pragma once
// The thefts that ignore exits, which the paper compares itself with (specs/extraction.md 6): Knockoff (random and
// adaptive policy), noise, ES attack. What they have in common: a budget of queries counted by one meter
// (attacks/query/metered.h), each picture asked once and without a clock; a copy trained on the answers with the joint loss of
// an ordinary multi-exit net on soft labels (FitMethod::kKnockoff); and, where the owner scores them, the victim's own
// thresholds (policy_for in attacks/extraction/score.h).
//
// Threat model: probabilities of a black box. v1 also hands the baseline the victim's architecture and training parameters:
// that is the caller's BaselinePlan::copy.
//
// Files in `folder`: NAME.answers.safetensors (the log of the meter), NAME-rN.npy (pictures of round N of the ES attack),
// checkpoints/NAME*.safetensors (copies in training). The same call goes on from them.
//
// Deviations: pictures are 8-bit also where the paper's are real numbers (synthesis rounds them); the generator of DNN-SYN
// starts anew in every round, so that a round follows from the copy alone.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "attacks/baselines/bandit.h"
#include "attacks/baselines/noise.h"
#include "attacks/baselines/synthesis.h"
#include "attacks/extraction/stages.h"
#include "nets/graph/metadata_text.h"

namespace offramp::attacks {

enum class Baseline {
  kKnockoff,
  kKnockoffAdaptive,
  kNoiseBernoulli,
  kNoiseUniform,
  kNoiseIsing,
  kEsOptimised,  // OPT-SYN
  kEsGenerated,  // DNN-SYN
};
inline constexpr nets::text::Names<Baseline, 7> kBaselines{
    {{Baseline::kKnockoff, "knockoff"},
     {Baseline::kKnockoffAdaptive, "knockoff-adaptive"},
     {Baseline::kNoiseBernoulli, "noise-bernoulli"},
     {Baseline::kNoiseUniform, "noise-uniform"},
     {Baseline::kNoiseIsing, "noise-ising"},
     {Baseline::kEsOptimised, "es-opt"},
     {Baseline::kEsGenerated, "es-dnn"}}};
inline constexpr nets::text::Names<Reward, 4> kRewards{{{Reward::kAll, "all"},
                                                        {Reward::kCertainty, "certainty"},
                                                        {Reward::kDiversity, "diversity"},
                                                        {Reward::kLoss, "loss"}}};
std::string to_text(Baseline baseline);

struct EsOptions {
  int rounds = 10;               // N; each asks budget / N pictures, the last what is left
  double learning_rate = 0.01;   // of the copy, constant; the epochs of a round are those of the copy's plan
  int latent = 100, width = 64;  // of the generator
  SynthesisOptions synthesis = {};
};

struct BaselinePlan {
  Baseline method = Baseline::kKnockoff;
  std::filesystem::path folder;
  std::int64_t budget = 0;  // pictures that the victim is asked about, in all
  // What Knockoff asks about. kKnockoffAdaptive: its labels are the actions. The others take the size of their pictures
  // from it and nothing else.
  const data::ImageSet* images = nullptr;
  CopyPlan copy = {};  // net, and how it learns
  int num_exits = 4;   // of the copy
  std::uint64_t seed = 1;
  Reward reward = Reward::kAll;  // of the adaptive policy
  IsingOptions ising = {};
  EsOptions es = {};
};

struct BaselineOutcome {
  std::unique_ptr<nets::Network> net;
  std::vector<FitEpoch> history;
  std::int64_t queries = 0;                  // what the meter counted
  std::vector<double> action_probabilities;  // of the adaptive policy at its end, by class of the pictures
};

// Throws ValueError for a plan that cannot be, before any query; Stopped where the listener asks.
BaselineOutcome run_baseline(BlackBox& victim,
                             const BaselinePlan& plan,
                             const Device& device,
                             Listener& listener);

}  // namespace offramp::attacks
