// What a checkpoint keeps of the data that its net was trained on (data.* in its metadata, docs/reference/formats.md), and
// the samples that a verb measures a net on: those of the command line, else those of the checkpoint.
#pragma once

#include "nets/data/image_file.h"
#include "nets/data/open_dataset.h"
#include "nets/graph/layers.h"
#include "nets/graph/state_dict.h"
#include "tools/frame/verb.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace offramp::tools {

struct TrainedOn {
  std::string set;            // the data set as --data named it; empty: not known (import, earlier versions)
  int side = 0;               // what pictures were resized to; 0: they kept the data set's own size
  int padding = 0;            // zeros on each side of pictures that were smaller by so much
  bool grey = false;          // no picture had a colour
  int held_out = 0;           // samples of the training part that the net did not see ..
  std::uint64_t seed = 1;     // .. drawn with this seed, which also makes generated sets
  std::string contents = {};  // data::fingerprint of the training part; empty: not known
  std::vector<std::string> class_names = {};  // empty: not known
};
// Throws ValueError for a number, DataError for names that to_metadata did not write.
TrainedOn trained_on(const nets::Metadata& metadata);
nets::Metadata to_metadata(const TrainedOn& data);

// A picture as its data set would have given it to a net whose input is `input`.
data::Picture as_trained(data::Picture picture, const TrainedOn& data, const nets::Extent& input);

// Samples of a data set.
struct Samples {
  std::string set;
  data::OpenOptions open = {};
  std::string split = "test";  // train, test or all
  int held_out = 0;            // > 0: only those that training with `seed` sets aside of `split`
  std::uint64_t seed = 1;

  // Positions in `split`, which has `count` samples; empty: all. Throws UsageError where all or more are to be held out.
  std::vector<std::int32_t> rows(int count) const;
  // The samples of `split` that are not held out; empty: all.
  std::vector<std::int32_t> others(int count) const;
  // "test set of pets", "12 held-out samples of pets".
  std::string text() const;
};

// What the command line says about samples; what it leaves out comes from the checkpoint.
struct SamplesWanted {
  std::string set = {};  // empty: the checkpoint's
  std::string split =
      "auto";  // train, test, all, held-out, or auto: test, or what a set without it has for that
  std::optional<int> held_out = {};  // how many
};
// Says on the log what comes from the checkpoint and what a path alone was taken for. Throws UsageError where nobody names a
// data set or it is not found, and where held-out samples are wanted but not known.
Samples samples_for(Session& session,
                    const TrainedOn& data,
                    const nets::Extent& input,
                    const SamplesWanted& wanted);

// Warns where held-out samples are wanted of a training part, `set`, that is no longer the one that the net was trained on:
// which samples it did not see is then not known.
void warn_if_changed(Session& session,
                     const TrainedOn& data,
                     const Samples& samples,
                     const data::Dataset& set);

// Says on the log what a path alone was taken for, and where val/ stands in for test/. Throws UsageError for a data set that
// is not found.
void say_what_is_found(Session& session, const std::string& set, const data::OpenOptions& open);

}  // namespace offramp::tools
