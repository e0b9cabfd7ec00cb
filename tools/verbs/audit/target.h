// What is audited. The owner's model gives everything; recorded times give the clock alone. A served model comes as a
// black box without a net: sections that need the net say so.
#pragma once

#include "attacks/query/black_box.h"
#include "attacks/query/in_process.h"
#include "attacks/query/trace.h"
#include "nets/data/image_set.h"
#include "nets/exits/outputs.h"
#include "nets/graph/state_dict.h"
#include "stats/exits/exit_estimation.h"
#include "stats/timing/timing_verdict.h"
#include "tools/verbs/audit/section.h"
#include "tools/verbs/trained_on.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace offramp::tools::audit {

// Times of n inputs, r of each, and what is known of the inputs.
struct Measured {
  std::vector<double> ns;  // [n, repetitions]
  std::size_t repetitions = 1;
  std::vector<std::int32_t> order;  // [n, repetitions] position in its pass; empty: as the rows stand
  std::vector<int> exit;            // [n] from 1; empty: not known
  bool exits_estimated = false;     // from the times themselves, not known to the owner
  std::vector<int> attribute;       // [n] index into attribute_names; empty: none
  std::string attribute_name;
  std::vector<std::string> attribute_names;
  std::optional<attacks::Trace> trace;  // of a served model: its answers beside the times
  std::size_t inputs() const { return ns.size() / repetitions; }
};
// The exits that its times show, by the mixture (stats/exits/exit_mixture.h).
stats::ExitEstimate exits_shown(const Measured& measured, unsigned threads);
// The measurements of inputs of group_a against group_b (of each input, -1: leave out), in the order measured.
stats::ClassifiedTimes classified(const Measured& measured, const std::vector<int>& side);

enum class Source { kModel, kServed, kTimes };

struct Target {
  Source source = Source::kModel;
  std::string name;                       // as it was given
  std::filesystem::path checkpoint;       // with thresholds; empty: no model of ours
  std::optional<nets::LoadedNet> loaded;  // on one thread
  TrainedOn trained;
  std::unique_ptr<attacks::BlackBox> box;  // empty: recorded times alone
  data::ImageSet images;                   // labelled, in a shuffled order; of the model's evaluation
  std::string images_text;                 // "test set of fashion-mnist"
  Samples samples;                         // where they come from
  bool tuned = true;                       // the checkpoint had thresholds, and none was given
  bool threshold_given = false;            // --threshold
  std::string described;                   // a served model: what its server tells of it
};

struct Settings {
  double alpha = 0.01;
  std::vector<std::string> queries = {};  // images for extraction; empty: half of the target's
  // Of a served model.
  std::int64_t max_queries = 0;        // images that it is asked about in all; 0: what time allows
  std::string copy_net = "small-cnn";  // the attacker does not know the net's family
  std::vector<std::string> members = {}, others = {};  // labelled images, in the training set and not
  std::size_t resamples = 1999;
  std::uint64_t seed = 1;
  unsigned threads = 0;
};

}  // namespace offramp::tools::audit
