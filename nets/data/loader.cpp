#include "nets/data/loader.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <string>

#include "nets/data/data_error.h"
#include "nets/data/split.h"
#include "nets/data/streams.h"

namespace offramp::data {

template <class T>
SampleSource<T> image_source(const ImageSet& set, const Augmentation& augmentation, std::uint64_t seed) {
  SampleSource<T> source;
  source.n = set.n;
  source.sample_size = set.image_bytes();
  source.labels = set.labels;
  source.fill = [&set, augmentation, seed](std::uint32_t epoch, std::int32_t index, T* out) {
    augment(ImageView{set.image(index).data(), set.h, set.w, set.c}, augmentation, seed, epoch, index, out);
  };
  return source;
}

template <class T>
SampleSource<T> table_source(const TableSet& set) {
  SampleSource<T> source;
  source.n = set.n;
  source.sample_size = static_cast<std::size_t>(set.d);
  source.labels = set.labels;
  source.fill = [&set](std::uint32_t, std::int32_t index, T* out) {
    for (const float v : set.row(index)) *out++ = T(v);
  };
  return source;
}

template <class T>
BatchLoader<T>::BatchLoader(SampleSource<T> source, LoaderOptions options)
    : source_(std::move(source)), options_(std::move(options)), rows_(options_.rows) {
  if (rows_.empty()) {
    rows_.resize(static_cast<std::size_t>(source_.n));
    std::iota(rows_.begin(), rows_.end(), 0);
  }
  if (rows_.empty()) throw DataError("loader: expected samples, the set is empty");
  if (options_.batch < 1)
    throw DataError("loader: expected a batch >= 1, found " + std::to_string(options_.batch));
  if (options_.ahead < 1)
    throw DataError("loader: expected ahead >= 1, found " + std::to_string(options_.ahead));
  if (options_.shards < 1 || options_.first_shard < 0 || options_.local_shards < 1 ||
      options_.first_shard + options_.local_shards > options_.shards)
    throw DataError("loader: expected a part of " + std::to_string(options_.shards) + " shards, found " +
                    std::to_string(options_.local_shards) + " from " + std::to_string(options_.first_shard) +
                    " on");
  for (const std::int32_t row : rows_)
    if (row < 0 || row >= source_.n)
      throw DataError("loader: expected rows in 0.." + std::to_string(source_.n - 1) + ", found " +
                      std::to_string(row));
  const int n = static_cast<int>(rows_.size());
  batches_ = options_.keep_partial ? (n - 1) / options_.batch + 1 : n / options_.batch;
  if (batches_ == 0)
    throw DataError("loader: " + std::to_string(n) + " samples make no full batch of " +
                    std::to_string(options_.batch));
  slots_.resize(static_cast<std::size_t>(options_.ahead) + 1);
  start(options_.epoch, options_.first_batch);
}

template <class T>
BatchLoader<T>::~BatchLoader() {
  stop();
}

template <class T>
int BatchLoader<T>::samples_per_epoch() const {
  const int n = static_cast<int>(rows_.size());
  return options_.keep_partial ? n : batches_ * options_.batch;
}

template <class T>
void BatchLoader<T>::start(std::uint32_t epoch, int batch) {
  if (batch < 0 || batch >= batches_)
    throw DataError("loader: expected a start in batches 0.." + std::to_string(batches_ - 1) + ", found " +
                    std::to_string(batch));
  made_ = taken_ = 0;
  stopping_ = false;
  failure_ = nullptr;
  first_ = true;
  worker_ = std::thread([this, epoch, batch] { produce(epoch, batch); });
}

template <class T>
void BatchLoader<T>::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  room_.notify_all();
  if (worker_.joinable()) worker_.join();
}

template <class T>
void BatchLoader<T>::seek(std::uint32_t epoch, int batch) {
  stop();
  start(epoch, batch);
}

template <class T>
void BatchLoader<T>::prepare(Slot& slot,
                             std::uint32_t epoch,
                             int batch,
                             const std::vector<std::int32_t>& order) const {
  const std::size_t batch_begin = static_cast<std::size_t>(batch) * static_cast<std::size_t>(options_.batch),
                    whole = std::min(static_cast<std::size_t>(options_.batch), rows_.size() - batch_begin);
  const auto shard_begin = [&](int shard) {
    return whole * static_cast<std::size_t>(shard) / static_cast<std::size_t>(options_.shards);
  };
  const std::size_t begin = batch_begin + shard_begin(options_.first_shard),
                    count = shard_begin(options_.first_shard + options_.local_shards) -
                            shard_begin(options_.first_shard);
  slot.values.resize(count * source_.sample_size);
  slot.labels.resize(count);
  slot.indices.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t index =
        rows_[options_.shuffle ? static_cast<std::size_t>(order[begin + i]) : begin + i];
    source_.fill(epoch, index, slot.values.data() + i * source_.sample_size);
    slot.labels[i] = source_.labels[static_cast<std::size_t>(index)];
    slot.indices[i] = index;
  }
  slot.batch = {.epoch = epoch,
                .index = batch,
                .n = static_cast<int>(count),
                .whole = static_cast<int>(whole),
                .last = batch + 1 == batches_,
                .values = slot.values,
                .labels = slot.labels,
                .indices = slot.indices};
}

template <class T>
void BatchLoader<T>::produce(std::uint32_t epoch, int batch) {
  try {
    std::vector<std::int32_t> order;
    for (;; ++epoch, batch = 0) {
      if (options_.shuffle)
        order = permutation(static_cast<int>(rows_.size()), options_.seed, kShuffleStream, epoch);
      for (; batch < batches_; ++batch) {
        std::uint64_t turn = 0;
        {
          std::unique_lock lock(mutex_);
          // One slot stays out: the batch that the consumer holds.
          room_.wait(lock, [&] { return stopping_ || made_ - taken_ < slots_.size() - 1; });
          if (stopping_) return;
          turn = made_;
        }
        prepare(slots_[turn % slots_.size()], epoch, batch, order);
        {
          const std::lock_guard lock(mutex_);
          ++made_;
        }
        ready_.notify_one();
      }
    }
  } catch (...) {  // rethrown by next()
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    ready_.notify_one();
  }
}

template <class T>
const HostBatch<T>& BatchLoader<T>::next() {
  std::unique_lock lock(mutex_);
  const auto available = [&] { return taken_ < made_ || failure_ != nullptr; };
  if (!available()) {
    const auto before = std::chrono::steady_clock::now();
    ready_.wait(lock, available);
    if (!first_) {
      ++waits_;
      waited_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
    }
  }
  first_ = false;
  if (taken_ == made_) std::rethrow_exception(failure_);
  Slot& slot = slots_[taken_++ % slots_.size()];
  lock.unlock();
  room_.notify_one();
  return slot.batch;
}

template SampleSource<float> image_source(const ImageSet&, const Augmentation&, std::uint64_t);
template SampleSource<bf16> image_source(const ImageSet&, const Augmentation&, std::uint64_t);
template SampleSource<float> table_source(const TableSet&);
template SampleSource<bf16> table_source(const TableSet&);
template class BatchLoader<float>;
template class BatchLoader<bf16>;

}  // namespace offramp::data
