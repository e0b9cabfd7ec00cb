#include "attacks/extraction/strategy_search.h"

#include <numeric>
#include <string>

#include "base/errors.h"
#include "nets/exits/frozen.h"
#include "nets/training/loader_source.h"

namespace offramp::attacks {

nets::ExitOutputs exit_table(const nets::Network& net,
                             const data::ImageSet& images,
                             const ImagesDone& report) {
  constexpr int kBatch = 250;
  nets::LoaderSource source(images, {}, nets::LoaderSource::evaluation(kBatch), net.device());
  int before = 0;
  return nets::exit_outputs(
      nets::FrozenNet(net),
      source,
      [&](int done, int) {
        if (report) report(done - before);
        before = done;
      },
      nets::Keep::kConfidences);
}

Confidences confidences_of(const nets::ExitOutputs& table,
                           std::span<const std::int32_t> exits,
                           std::span<const std::int32_t> victim_labels) {
  const auto width = static_cast<std::size_t>(table.num_exits);
  if (exits.empty() || table.confidence.size() != exits.size() * width ||
      (!victim_labels.empty() && victim_labels.size() != exits.size()))
    throw ValueError("strategy search: expected " + std::to_string(table.confidence.size()) +
                     " confidences to be " + std::to_string(exits.size()) + " x " + std::to_string(width) +
                     " and a class for each sample or none, got " + std::to_string(victim_labels.size()));
  Confidences c{table.num_exits, table.confidence, {exits.begin(), exits.end()}, {}};
  for (std::size_t i = 0; i < victim_labels.size(); ++i) {
    if (exits[i] < 1 || exits[i] > table.num_exits)
      throw ValueError("strategy search: exit " + std::to_string(exits[i]) + " is not in 1.." +
                       std::to_string(table.num_exits));
    const std::int32_t says = table.predicted[i * width + static_cast<std::size_t>(exits[i] - 1)];
    c.weights.push_back(says == victim_labels[i] ? 1 : 0);
  }
  return c;
}

void Confidences::keep_first(std::size_t samples) {
  if (samples == 0) return;
  if (samples > exits.size())
    throw ValueError("search: thresholds are wanted from the first " + std::to_string(samples) +
                     " samples, there are " + std::to_string(exits.size()));
  exits.resize(samples);
  values.resize(samples * static_cast<std::size_t>(num_exits));
  if (!weights.empty()) weights.resize(samples);
}

StrategyResult search_strategy(const Confidences& c, const stats::SearchOptions& options) {
  StrategyResult result;
  result.policy.rule = nets::ExitRule::kAbove;
  if (c.num_exits == 1) {
    result.search.value = result.search.upper_bound =
        c.weights.empty() ? static_cast<double>(c.exits.size())
                          : std::accumulate(c.weights.begin(), c.weights.end(), 0.0);
    result.search.optimal = true;
    result.joint = result.search.value;
    return result;
  }
  const std::vector<int> as_int(c.exits.begin(), c.exits.end());
  const stats::SearchSamples samples{.confidences = c.values,
                                     .exits = as_int,
                                     .num_exits = static_cast<std::size_t>(c.num_exits),
                                     .weights = c.weights};
  result.search = stats::search_thresholds(samples, options);
  result.joint = stats::joint_value(samples, result.search.thresholds);
  result.policy.thresholds = result.search.thresholds;
  return result;
}

}  // namespace offramp::attacks
