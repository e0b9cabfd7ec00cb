// What the verbs about nets share: data sets as a net takes them.
#pragma once

#include "nets/data/open_dataset.h"
#include "nets/exits/evaluation.h"
#include "nets/graph/state_dict.h"
#include "nets/training/loader_source.h"
#include "tools/frame/verb.h"
#include "tools/verbs/trained_on.h"

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace offramp::tools {

// A data set and its loader. Owns the set, which the loader reads.
class NetData {
 public:
  // Throws UsageError for a set that names nothing known.
  NetData(const std::string& set, const std::string& split, const data::OpenOptions& open);
  // Of a net that is measured; warns where held-out samples are no longer those of its training.
  NetData(Session& session, const TrainedOn& trained, const Samples& samples)
      : NetData(samples.set, samples.split, samples.open) {
    warn_if_changed(session, trained, samples, set_);
  }

  bool pixels() const { return std::holds_alternative<data::ImageSet>(set_); }
  int samples() const;
  int classes() const;
  const std::vector<std::string>& class_names() const;
  // For nets::NetOptions: sizes, classes and the recommended normalisation (of all pictures, or of those named).
  void describe(nets::NetOptions& options, std::span<const std::int32_t> trained_on = {}) const;
  // What a checkpoint keeps of this set, but for the name and what is held out.
  TrainedOn trained_on() const;
  // What was done to pictures that users may not expect; empty: nothing.
  std::string note() const;
  // Renumbers the labels to the classes that the net was trained on, where its checkpoint names them. Pictures become grey
  // or get three channels as the net takes them. Throws UsageError for a class that it was not trained on, for other
  // samples, or another number of classes.
  void fit_to(const nets::Network& net, const std::vector<std::string>& classes, const std::string& set);

  // `rows`: positions to use, empty: all.
  std::unique_ptr<nets::LoaderSource> training(const Device& device,
                                               int batch,
                                               std::uint64_t seed,
                                               bool augment,
                                               std::vector<std::int32_t> rows = {},
                                               const nets::PartOfBatch& part = {}) const;
  std::unique_ptr<nets::LoaderSource> evaluation(const Device& device,
                                                 int batch,
                                                 std::vector<std::int32_t> rows = {}) const;

 private:
  data::Dataset set_;
  std::string converted_;  // what fit_to did to the channels, for note()
};

// Outputs of every exit with a progress line; Ctrl-C stops.
nets::ExitOutputs outputs_with_progress(Session& session,
                                        const std::string& label,
                                        const nets::Network& net,
                                        nets::BatchSource& source);

// What to say where the last exit gives all samples of several classes one class, as a net does that learned nothing or
// collapsed; empty where it does not.
std::string one_class_note(const nets::ExitOutputs& outputs, const std::vector<std::string>& class_names);

}  // namespace offramp::tools
