#pragma once
// Batches in the order of training: each epoch's order is a Philox permutation, a thread of its own prepares
// batches ahead, and (epoch, batch) says everything about the next one, so that a run resumes anywhere with
// the same bits.
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "nets/data/augment.h"
#include "nets/data/image_set.h"

namespace offramp::data {

// Where samples come from, one by one (nets/training/batch_source.h: whole batches, on a device). fill writes sample_size values of sample `index` for `epoch`; it runs on the
// loader's thread. labels is [n]. The set behind it must outlive the loader.
template <class T>
struct SampleSource {
  int n = 0;
  std::size_t sample_size = 0;
  std::span<const std::int32_t> labels;
  std::function<void(std::uint32_t epoch, std::int32_t index, T* out)> fill;
};
// Pixels in [0,1], NHWC, augmented with (seed, epoch, index).
template <class T>
SampleSource<T> image_source(const ImageSet& set, const Augmentation& augmentation, std::uint64_t seed);
template <class T>
SampleSource<T> table_source(const TableSet& set);

struct LoaderOptions {
  int batch = 128;
  bool shuffle = true;
  bool keep_partial = true;             // the last, shorter batch of an epoch (training.md section 2)
  std::uint64_t seed = 1;               // of the shuffle
  std::vector<std::int32_t> rows = {};  // the samples to use (a split); empty: all
  std::uint32_t epoch = 0;              // where to start
  int first_batch = 0;
  int ahead = 2;  // batches prepared beyond the one in hand
  // Of every batch, cut into `shards` of nearly equal size, those from first_shard on: a process's part.
  int shards = 1, first_shard = 0, local_shards = 1;
};

// One batch in the memory of the host: this room knows no tensors. The spans point into the loader and are valid until the next call of next() or seek().
template <class T>
struct HostBatch {
  std::uint32_t epoch = 0;
  int index = 0;                          // within the epoch
  int n = 0;                              // samples here
  int whole = 0;                          // of the whole batch
  bool last = false;                      // of the epoch
  std::span<const T> values;              // [n, sample_size]
  std::span<const std::int32_t> labels;   // [n]
  std::span<const std::int32_t> indices;  // [n] positions in the full set
};

template <class T>
class BatchLoader {
 public:
  // Throws DataError: no samples, batch < 1, rows out of range, an epoch without a batch, a start beyond the
  // epoch.
  BatchLoader(SampleSource<T> source, LoaderOptions options);
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;

  int batches_per_epoch() const { return batches_; }
  int samples_per_epoch() const;
  // Goes on from epoch to epoch without end. An exception of `fill` is rethrown here.
  const HostBatch<T>& next();
  // The next batch will be this one; what was prepared ahead is dropped.
  void seek(std::uint32_t epoch, int batch);
  // How many next() calls found no batch ready, and for how long they waited in all (the first batch after a
  // start or seek not counted): 0 means that preparing never held up the consumer.
  int waits() const { return waits_; }
  double waited_seconds() const { return waited_seconds_; }

 private:
  struct Slot {
    std::vector<T> values;
    std::vector<std::int32_t> labels, indices;
    HostBatch<T> batch;
  };
  void start(std::uint32_t epoch, int batch);
  void stop();
  void produce(std::uint32_t epoch, int batch);
  void prepare(Slot& slot, std::uint32_t epoch, int batch, const std::vector<std::int32_t>& order) const;

  SampleSource<T> source_;
  LoaderOptions options_;
  std::vector<std::int32_t> rows_;
  int batches_ = 0;

  // Slots form a ring: [taken_, made_) are ready; the one before taken_ is in the consumer's hand.
  std::vector<Slot> slots_;
  std::mutex mutex_;
  std::condition_variable ready_, room_;
  std::uint64_t made_ = 0, taken_ = 0;
  bool stopping_ = false;
  std::exception_ptr failure_;
  std::thread worker_;

  bool first_ = true;
  int waits_ = 0;
  double waited_seconds_ = 0;
};

}  // namespace offramp::data
