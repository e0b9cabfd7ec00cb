#pragma once
// The output strategy of a substitute (specs/extraction.md 4): thresholds under which it leaves where the
// victim left, searched on the query images.
#include <cstdint>
#include <span>
#include <vector>

#include "attacks/extraction/images.h"
#include "nets/data/image_set.h"
#include "nets/exits/exit_policy.h"
#include "nets/exits/outputs.h"
#include "nets/graph/network.h"
#include "stats/search/threshold_search.h"

namespace offramp::attacks {

// What every exit of a net, frozen (nets/exits/frozen.h), says about every image.
nets::ExitOutputs exit_table(const nets::Network& net,
                             const data::ImageSet& images,
                             const ImagesDone& report = {});

// What makes a query image count in the search.
enum class Counts {
  kExit,          // that the copy leaves where the victim left
  kClassAndExit,  // and says there what the victim said (what CLO rewards)
};

// What the thresholds are searched on.
struct Confidences {
  int num_exits = 0;
  std::vector<double> values;       // [n, num_exits] of the copy
  std::vector<std::int32_t> exits;  // [n] from 1: the victim's, estimated
  std::vector<double> weights;      // [n] how much a sample counts, or empty: all 1

  // Leaves the first `samples` only; throws ValueError where there are fewer. 0: all stay.
  void keep_first(std::size_t samples);
};
// exits [n] from 1: the estimate. victim_labels [n], or empty: where given, a sample counts only if the
// substitute's class at that exit is the victim's. Throws ValueError where sizes disagree.
Confidences confidences_of(const nets::ExitOutputs& table,
                           std::span<const std::int32_t> exits,
                           std::span<const std::int32_t> victim_labels);

struct StrategyResult {
  nets::ExitPolicy policy;  // rule "above", fallback "last"; never stops early for a net with one exit
  stats::SearchResult search;
  double joint =
      0;  // J: samples that leave under these thresholds where the victim left, whatever was searched
};
StrategyResult search_strategy(const Confidences& confidences, const stats::SearchOptions& options = {});

}  // namespace offramp::attacks
