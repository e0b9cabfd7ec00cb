#pragma once
// The victim and its copies side by side: every number of extraction.md 5 for each. The owner's side, as
// score.h.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "attacks/extraction/score.h"
#include "nets/graph/network.h"

namespace offramp::attacks {

struct Contestant {
  std::string name;
  const nets::Network* net = nullptr;  // any device
  nets::ExitPolicy policy;
};

struct ContestantScore {
  std::string name;
  int num_exits = 0;
  double accuracy = 0;            // on the test set
  Agreement test, queries;        // with the victim; 1 for itself
  Spending spending;              // on the test set
  double plain_ops_profiler = 0;  // of the test set without early exit
  double mean_ns = 0;             // per test image, batch 1, one thread; 0: not measured
  // To the victim, total over the test set.
  double ratio_ops_profiler = 1, ratio_macs = 1,
         ratio_time = 1;          // of time: 1 as well where none was measured
  Behaviour on_test, on_queries;  // of queries: empty where there were none, and `queries` says nothing then
  bool timed() const { return mean_ns > 0; }
  bool queried() const { return !on_queries.exit.empty(); }
};

struct ScoreOptions {
  int timed_images = 500;  // of the test set, from the start; 0: no times
  int timed_passes = 5;    // an image's time is the least of them
  std::uint64_t seed = 1;
  ImagesDone report = {};  // of images_to_score images in all
};

// How many images scoreboard asks nets about, for a progress bar.
std::int64_t images_to_score(std::size_t contestants,
                             const data::ImageSet& test,
                             const data::ImageSet* queries,
                             const ScoreOptions& options);

// The first contestant is the victim. `queries` may be null. Nets are timed in turn, image by image, so that
// a slow spell of the machine hits all alike.
std::vector<ContestantScore> scoreboard(const std::vector<Contestant>& contestants,
                                        const data::ImageSet& test,
                                        const data::ImageSet* queries,
                                        const ScoreOptions& options = {});

// An equal net on a CPU device of one thread: what is timed.
std::unique_ptr<nets::Network> one_thread_copy(const nets::Network& net);

}  // namespace offramp::attacks
