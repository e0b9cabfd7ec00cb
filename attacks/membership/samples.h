#pragma once
// A data set of either kind as the nets of a membership audit take it: rows by index, in batches.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "nets/data/open_dataset.h"
#include "nets/graph/options.h"
#include "nets/training/loader_source.h"

namespace offramp::attacks::membership {

class Samples {
 public:
  explicit Samples(data::Dataset set);

  const data::Dataset& set() const { return set_; }
  bool pixels() const { return std::holds_alternative<data::ImageSet>(set_); }
  int count() const;
  const std::vector<std::int32_t>& labels() const;
  const std::vector<std::string>& class_names() const;
  int classes() const { return static_cast<int>(class_names().size()); }
  // Sizes and classes for a net. With pixels also mean 0 and deviation 1 or, where asked for, the recommended ones.
  void describe(nets::NetOptions& options, bool normalise) const;

  // [rows.size(), c,h,w] in [0,1] or [rows.size(), features].
  Tensor load(std::span<const std::int32_t> rows, const Device& device) const;
  // Training without augmentation: it would hide the overfitting that is measured (specs/training.md 6).
  std::unique_ptr<nets::LoaderSource> training(const Device& device,
                                               int batch,
                                               std::uint64_t seed,
                                               std::vector<std::int32_t> rows) const;
  std::unique_ptr<nets::LoaderSource> evaluation(const Device& device,
                                                 int batch,
                                                 std::vector<std::int32_t> rows) const;

 private:
  data::Dataset set_;
};

}  // namespace offramp::attacks::membership
