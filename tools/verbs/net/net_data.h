// What the verbs about nets share: data sets as a net takes them, checkpoints by
// path or run folder.
#pragma once

#include "nets/data/open_dataset.h"
#include "nets/exits/evaluation.h"
#include "nets/graph/state_dict.h"
#include "nets/training/loader_source.h"
#include "tools/frame/verb.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace offramp::tools {

// A data set and its loader. Owns the set, which the loader reads.
class NetData {
 public:
  // Throws UsageError for a spec that names nothing known.
  NetData(const Session& session, const std::string& spec, const std::string& split);

  bool pixels() const { return std::holds_alternative<data::ImageSet>(set_); }
  int samples() const;
  int classes() const;
  const std::vector<std::string>& class_names() const;
  // For nets::NetOptions: sizes, classes and the recommended normalisation.
  void describe(nets::NetOptions& options) const;
  // The names of the classes, for the metadata of a checkpoint (data.classes).
  nets::Metadata metadata() const;
  // Renumbers the labels to the classes that the net was trained on, where `trained`, the metadata of its checkpoint, names
  // them. Throws UsageError for a class that it was not trained on, for other samples, or another number of classes.
  void fit_to(const nets::Network& net, const nets::Metadata& trained, const std::string& spec);

  // `rows`: positions to use, empty: all.
  std::unique_ptr<nets::LoaderSource> training(const Device& device,
                                               int batch,
                                               std::uint64_t seed,
                                               bool augment,
                                               std::vector<std::int32_t> rows = {}) const;
  std::unique_ptr<nets::LoaderSource> evaluation(const Device& device,
                                                 int batch,
                                                 std::vector<std::int32_t> rows = {}) const;

 private:
  data::Dataset set_;
};

// The class names in the metadata of a checkpoint; empty for those of older versions.
std::vector<std::string> class_names_in(const nets::Metadata& metadata);

// A checkpoint file, or a run folder with checkpoints/last.safetensors in it.
std::filesystem::path checkpoint_in(const std::filesystem::path& path);

// Outputs of every exit with a progress line; Ctrl-C stops.
nets::ExitOutputs outputs_with_progress(Session& session,
                                        const std::string& label,
                                        const nets::Network& net,
                                        nets::BatchSource& source);

}  // namespace offramp::tools
