#pragma once
// What the studies report, from judgements of clean images and of the examples made of them (docs/specs/robustness.md 1, 3,
// 4.4 and 6). Everything is a count or a mean over images; a rate of nothing has no share.
#include <optional>
#include <span>
#include <vector>

#include "attacks/evasion/harness.h"
#include "stats/intervals.h"

namespace offramp::attacks::evasion {

struct Rate {
  int count = 0, of = 0;
  std::optional<stats::Interval> share;  // with Wilson's 95 % interval; empty where `of` is 0
};
Rate rate_of(int count, int of);

// RQ1. Conditional: of the images that surrogate and target both classify right when clean and whose examples fool the
// surrogate, those whose examples the target classifies wrongly. Unconditional: of all images.
struct Transfer {
  Rate clean_error, unconditional, conditional;
  Rate fooled;  // of those that both classify right: examples that fool the surrogate
  std::vector<std::optional<bool>> hit;  // [n] per image: counted in `conditional`, and whether it succeeded
};
Transfer transfer_of(const Judgement& surrogate_clean,
                     const Judgement& surrogate_attacked,
                     const Judgement& target_clean,
                     const Judgement& target_attacked);

// RQ2: Delta = exit(example) - exit(clean) of one net.
struct ExitChange {
  std::vector<int> delta;  // [n]
  double mean = 0;
  Rate at_least_one, at_least_two, negative;
  std::vector<int> clean, attacked;  // [num_exits] images that left there
  double cost_increase = 0;          // of the mean MACs, as a share of the whole net's
  double efficacy_clean = 0, efficacy_attacked = 0;
  std::optional<double> correlation;  // of the example's confidence at the last exit with Delta (Pearson)
};
ExitChange exit_change(const Victim& victim, const Judgement& clean, const Judgement& attacked);

// RQ3. Of the images whose prediction at the last exit changed: F, the first exit whose prediction differs from the last
// exit's on the clean image.
struct FirstModified {
  std::vector<int> all;     // [num_exits] images with F there
  std::vector<int> agreed;  // the same among those whose exits all agreed when clean
  Rate first_exit_all, first_exit_agreed;
};
FirstModified first_modified(const Judgement& clean, const Judgement& attacked);

// Early Attack's success (last exit unchanged, all others changed), and its transfer: T1, the share whose last prediction is
// the net's own clean one; T2, among those the mean number of internal classifiers that differ from it; clean_t2: of the
// clean images.
struct EarlyTransfer {
  Rate success, t1;
  std::optional<double> t2;
  double clean_t2 = 0;
};
EarlyTransfer early_transfer(const Judgement& clean, const Judgement& attacked);

// DeepSloth's efficacy: area under F over c in [0,1]. cost [K] cumulative, in any unit; left [K]: share of the samples that have
// left by exit i, the last 1. 1: everything leaves at once. Throws ValueError where the two do not fit or do not rise.
double efficacy(std::span<const double> cost, std::span<const double> left);
// Of what left where, with the cost in profiler operations.
double efficacy(const Victim& victim, std::span<const int> left_at);

// DeepSloth's threshold: of .05, .10 .. .95 for all exits the cheapest (mean MACs) whose accuracy is above (1 - drop) times
// the last exit's. Their code also wants each choice to be more accurate than the one before, which depends on the order.
// Throws ValueError where none is.
nets::ExitPolicy policy_by_accuracy_drop(const Victim& victim, const nets::ExitOutputs& outputs, double drop);

// Images per exit.
std::vector<int> exit_histogram(const Judgement& judgement);

// F1: mean over cells of the conditional success, D2S minus S2D, and its interval when images are drawn anew (the same ones
// in every cell). Cells in which a draw has no counted image are left out of it. Empty without cells of both kinds.
using Hits = std::vector<std::optional<bool>>;
std::optional<stats::Interval> direction_difference(std::span<const Hits> d2s,
                                                    std::span<const Hits> s2d,
                                                    const stats::BootstrapOptions& options = {});

}  // namespace offramp::attacks::evasion
