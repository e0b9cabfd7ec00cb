#include "attacks/extraction/strategy_search.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "base/errors.h"
#include "engine/ops.h"
#include "engine/recording.h"
#include "nets/exits/frozen.h"

namespace offramp::attacks {

ExitTable exit_table(const nets::Network& net, const data::ImageSet& images, const ImagesDone& report) {
  constexpr int kBatch = 250;
  const NoGrad no_grad;
  const nets::FrozenNet frozen(net);
  const ImageSource source = image_source(images);
  const auto exits = static_cast<std::size_t>(net.num_exits()),
             classes = static_cast<std::size_t>(net.classes());
  ExitTable table{.num_exits = net.num_exits(),
                  .confidence = std::vector<double>(static_cast<std::size_t>(images.n) * exits),
                  .predicted = std::vector<std::int32_t>(static_cast<std::size_t>(images.n) * exits)};
  std::vector<std::int32_t> indices;
  for (int first = 0; first < images.n; first += kBatch) {
    indices.resize(static_cast<std::size_t>(std::min(kBatch, images.n - first)));
    std::iota(indices.begin(), indices.end(), first);
    const auto logits = frozen.forward(source.load(indices).to(net.device()));
    for (std::size_t e = 0; e < exits; ++e) {
      const std::vector<float> p = softmax(logits[e]).to_host<float>();
      for (std::size_t i = 0; i < indices.size(); ++i) {
        const auto row = p.begin() + static_cast<std::ptrdiff_t>(i * classes);
        const auto top = std::max_element(row, row + static_cast<std::ptrdiff_t>(classes));
        const std::size_t at = (static_cast<std::size_t>(first) + i) * exits + e;
        table.confidence[at] = static_cast<double>(*top);
        table.predicted[at] = static_cast<std::int32_t>(top - row);
      }
    }
    if (report) report(static_cast<int>(indices.size()));
  }
  return table;
}

Confidences confidences_of(const ExitTable& table,
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
    result.search.value = result.search.upper_bound = static_cast<double>(c.exits.size());
    result.search.optimal = true;
    return result;
  }
  const std::vector<int> as_int(c.exits.begin(), c.exits.end());
  result.search = stats::search_thresholds({.confidences = c.values,
                                            .exits = as_int,
                                            .num_exits = static_cast<std::size_t>(c.num_exits),
                                            .weights = c.weights},
                                           options);
  result.policy.thresholds = result.search.thresholds;
  return result;
}

}  // namespace offramp::attacks
