#include "nets/training/loader_source.h"

namespace offramp::nets {

data::LoaderOptions LoaderSource::training(int batch,
                                           std::uint64_t seed,
                                           std::vector<std::int32_t> rows,
                                           const PartOfBatch& part) {
  data::LoaderOptions options;
  options.batch = batch;
  options.seed = seed;
  options.rows = std::move(rows);
  options.epoch = 1;
  options.shards = part.shards;
  options.first_shard = part.first;
  options.local_shards = part.local;
  return options;
}

data::LoaderOptions LoaderSource::evaluation(int batch, std::vector<std::int32_t> rows) {
  data::LoaderOptions options = training(batch, 0, std::move(rows));
  options.shuffle = false;
  return options;
}

namespace {

data::SampleSource<float> labelled(data::SampleSource<float> source, std::span<const std::int32_t> labels) {
  if (!labels.empty()) source.labels = labels;
  return source;
}

}  // namespace

LoaderSource::LoaderSource(const data::ImageSet& set,
                           const data::Augmentation& augmentation,
                           const data::LoaderOptions& options,
                           const Device& device,
                           std::span<const std::int32_t> labels)
    : sample_{1, set.c, set.h, set.w},
      device_(device),
      loader_(labelled(data::image_source<float>(set, augmentation, options.seed), labels), options) {}

LoaderSource::LoaderSource(const data::TableSet& set,
                           const data::LoaderOptions& options,
                           const Device& device)
    : sample_{1, set.d}, device_(device), loader_(data::table_source<float>(set), options) {}

void LoaderSource::start(int epoch, int first_batch) {
  loader_.seek(static_cast<std::uint32_t>(epoch), first_batch);
}

Batch LoaderSource::next() {
  const data::HostBatch<float>& batch = loader_.next();
  const Shape shape =
      sample_.rank() == 4 ? Shape{batch.n, sample_[1], sample_[2], sample_[3]} : Shape{batch.n, sample_[1]};
  return {Tensor::from<float>(shape, batch.values, device_),
          Tensor::from<std::int32_t>({batch.n}, batch.labels, device_),
          {batch.indices.begin(), batch.indices.end()},
          batch.whole};
}

}  // namespace offramp::nets
