#include "nets/training/loader_source.h"

#include "nets/data/streams.h"

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

std::optional<DevicePictures> on_device(const data::ImageSet& set,
                                        const data::Augmentation& augmentation,
                                        const data::LoaderOptions& options,
                                        const Device& device) {
  // Shuffled: trained on, again and again.
  if (!options.shuffle || !DevicePictures::fit(set.pixels.size(), device)) return {};
  const DevicePictures::Form form{.n = set.n,
                                  .h = set.h,
                                  .w = set.w,
                                  .c = set.c,
                                  .flip = augmentation.flip,
                                  .crop_pad = augmentation.crop_pad,
                                  .colour_jitter = augmentation.colour_jitter,
                                  .key = {.seed = options.seed, .stream = data::kAugmentStream}};
  return DevicePictures(set.pixels, form, device);
}

data::SampleSource<float> source_of(const data::ImageSet& set,
                                    const data::Augmentation& augmentation,
                                    std::uint64_t seed,
                                    std::span<const std::int32_t> labels,
                                    bool values) {
  data::SampleSource<float> source = data::image_source<float>(set, augmentation, seed);
  if (!labels.empty()) source.labels = labels;
  if (!values) {  // the order alone
    source.sample_size = 0;
    source.fill = [](std::uint32_t, std::int32_t, float*) {};
  }
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
      pictures_(on_device(set, augmentation, options, device)),
      loader_(source_of(set, augmentation, options.seed, labels, !pictures_), options) {}

LoaderSource::LoaderSource(const data::TableSet& set,
                           const data::LoaderOptions& options,
                           const Device& device)
    : sample_{1, set.d}, device_(device), loader_(data::table_source<float>(set), options) {}

void LoaderSource::start(int epoch, int first_batch) {
  loader_.seek(static_cast<std::uint32_t>(epoch), first_batch);
}

Batch LoaderSource::next() {
  Batch batch = next_to_make();
  if (!batch.inputs) batch.inputs = make(batch.places);
  return batch;
}

Batch LoaderSource::next_to_make() {
  const data::HostBatch<float>& batch = loader_.next();
  Batch made{.inputs = {},
             .labels = Tensor::from<std::int32_t>({batch.n}, batch.labels, device_),
             .indices = {batch.indices.begin(), batch.indices.end()},
             .whole = batch.whole};
  if (pictures_) {
    places_ = made.indices;
    places_.push_back(static_cast<std::int32_t>(batch.epoch));
    made.places = Tensor::from<std::int32_t>({batch.n + 1}, places_, device_);
  } else {
    const Shape shape =
        sample_.rank() == 4 ? Shape{batch.n, sample_[1], sample_[2], sample_[3]} : Shape{batch.n, sample_[1]};
    made.inputs = Tensor::from<float>(shape, batch.values, device_);
  }
  return made;
}

}  // namespace offramp::nets
