#pragma once
// The choices of an attack as options and files spell them.
#include "attacks/extraction/strategy_search.h"
#include "attacks/extraction/substitute_training.h"
#include "nets/graph/metadata_text.h"
#include "stats/exits/exit_estimation.h"
#include "stats/search/threshold_search.h"

namespace offramp::attacks {

inline constexpr nets::text::Names<FitMethod, 2> kFitMethods{
    {{FitMethod::kStrategy, "strategy"}, {FitMethod::kKnockoff, "knockoff"}}};
inline constexpr nets::text::Names<TargetLoss, 3> kFitLosses{
    {{TargetLoss::kKlTargetFirst, "kl-target-first"},
     {TargetLoss::kKlOutputFirst, "kl-output-first"},
     {TargetLoss::kSoftCrossEntropy, "cross-entropy"}}};
inline constexpr nets::text::Names<HingeMean, 2> kHingeMeans{
    {{HingeMean::kBatch, "batch"}, {HingeMean::kPerExit, "exit"}}};
inline constexpr nets::text::Names<stats::EstimationMethod, 3> kEstimationMethods{
    {{stats::EstimationMethod::kMixture, "mixture"},
     {stats::EstimationMethod::kDensity, "kde"},
     {stats::EstimationMethod::kChangepoints, "changepoints"}}};
inline constexpr nets::text::Names<stats::TimeStatistic, 5> kTimeStatistics{
    {{stats::TimeStatistic::kLeastNoisy, "auto"},
     {stats::TimeStatistic::kMinimum, "min"},
     {stats::TimeStatistic::kQuantile20, "q20"},
     {stats::TimeStatistic::kMedian, "median"},
     {stats::TimeStatistic::kMean, "mean"}}};
inline constexpr nets::text::Names<stats::SigmaSource, 5> kSigmaSources{
    {{stats::SigmaSource::kNone, "none"},
     {stats::SigmaSource::kGiven, "given"},
     {stats::SigmaSource::kRepetitions, "repetitions"},
     {stats::SigmaSource::kWithinClusters, "spread within clusters"},
     {stats::SigmaSource::kTimerResolution, "timer resolution"}}};
inline constexpr nets::text::Names<stats::SearchObjective, 2> kSearchObjectives{
    {{stats::SearchObjective::kJoint, "joint"}, {stats::SearchObjective::kSeparable, "separable"}}};
inline constexpr nets::text::Names<stats::SeparableOthers, 2> kSeparableOthers{
    {{stats::SeparableOthers::kRemaining, "remaining"}, {stats::SeparableOthers::kAll, "all"}}};
inline constexpr nets::text::Names<Counts, 2> kCounts{
    {{Counts::kExit, "exit"}, {Counts::kClassAndExit, "class-and-exit"}}};

}  // namespace offramp::attacks
