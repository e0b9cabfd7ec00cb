#pragma once
// The loaders of nets/data as batches of tensors. On a CUDA device the pictures that are trained on lie in its memory
// where they take at most a quarter of it, and are augmented there, with the same bits.
#include <cstdint>
#include <optional>
#include <span>

#include "engine/device.h"
#include "engine/device_pictures.h"
#include "nets/data/loader.h"
#include "nets/training/batch_source.h"

namespace offramp::nets {

// The shards of every batch that a process holds (engine/shards.h).
struct PartOfBatch {
  int shards = 1, first = 0, local = 1;
};

class LoaderSource final : public BatchSource {
 public:
  // Training: shuffled by (seed, epoch) and augmented; `rows` chooses samples (empty: all). The set must
  // outlive the source.
  static data::LoaderOptions training(int batch,
                                      std::uint64_t seed,
                                      std::vector<std::int32_t> rows = {},
                                      const PartOfBatch& part = {});
  // Evaluation: in order, as the pictures are.
  static data::LoaderOptions evaluation(int batch, std::vector<std::int32_t> rows = {});

  // `labels`, where given, stand in for the set's own and must outlive the source too.
  LoaderSource(const data::ImageSet& set,
               const data::Augmentation& augmentation,
               const data::LoaderOptions& options,
               const Device& device,
               std::span<const std::int32_t> labels = {});
  LoaderSource(const data::TableSet& set, const data::LoaderOptions& options, const Device& device);

  int samples() const override { return loader_.samples_per_epoch(); }
  int batches() const override { return loader_.batches_per_epoch(); }
  void start(int epoch, int first_batch) override;
  Batch next() override;
  Batch next_to_make() override;
  Tensor make(const Tensor& places) const override { return pictures_->batch(places); }
  // How often a step had to wait for its batch.
  int waits() const { return loader_.waits(); }
  double waited_seconds() const { return loader_.waited_seconds(); }

 private:
  Shape sample_;  // [1,c,h,w] or [1,features]
  Device device_;
  std::optional<DevicePictures> pictures_;
  std::vector<std::int32_t> places_;
  data::BatchLoader<float> loader_;
};

}  // namespace offramp::nets
