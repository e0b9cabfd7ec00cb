#include "nets/data/loader.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "nets/data/split.h"
#include "nets/data/streams.h"
#include "tests/nets/data/support.h"

namespace offramp::data {
namespace {

ImageSet numbered_images(int n) {
  ImageSet set{.n = n, .h = 4, .w = 4, .c = 3};
  set.pixels.resize(static_cast<std::size_t>(n) * 48);
  for (int i = 0; i < n; ++i) {
    for (auto& v : set.image(i)) v = static_cast<std::uint8_t>(i);
    set.labels.push_back(i % 10);
  }
  set.class_names.assign(10, "x");
  return set;
}

TEST(Loader, AnEpochHoldsEverySampleOnceInTheShuffledOrder) {
  const ImageSet set = numbered_images(23);
  BatchLoader<float> loader(image_source<float>(set, {}, 1), {.batch = 5, .seed = 77});
  EXPECT_EQ(loader.batches_per_epoch(), 5);
  EXPECT_EQ(loader.samples_per_epoch(), 23);
  for (std::uint32_t epoch = 0; epoch < 3; ++epoch) {
    const auto order = permutation(23, 77, kShuffleStream, epoch);
    std::size_t at = 0;
    for (int b = 0; b < 5; ++b) {
      const auto& batch = loader.next();
      EXPECT_EQ(batch.epoch, epoch);
      EXPECT_EQ(batch.index, b);
      EXPECT_EQ(batch.n, b == 4 ? 3 : 5);
      EXPECT_EQ(batch.last, b == 4);
      ASSERT_EQ(batch.values.size(), static_cast<std::size_t>(batch.n) * 48);
      for (std::size_t i = 0; i < batch.indices.size(); ++i) {
        EXPECT_EQ(batch.indices[i], order[at++]);
        EXPECT_EQ(batch.labels[i], batch.indices[i] % 10);
        EXPECT_EQ(batch.values[i * 48], static_cast<float>(batch.indices[i]) / 255.0f);
      }
    }
    EXPECT_EQ(at, 23u);
  }
}

TEST(Loader, WithoutShuffleAndPartialBatch) {
  const ImageSet set = numbered_images(23);
  BatchLoader<bf16> loader(image_source<bf16>(set, {}, 1),
                           {.batch = 5, .shuffle = false, .keep_partial = false});
  EXPECT_EQ(loader.batches_per_epoch(), 4);
  EXPECT_EQ(loader.samples_per_epoch(), 20);
  for (int b = 0; b < 8; ++b) EXPECT_EQ(loader.next().indices[0], b % 4 * 5);
}

TEST(Loader, RowsChooseAPartOfTheSetAndKeepTheirIndices) {
  const ImageSet set = numbered_images(30);
  const HeldOut parts = split_held_out(30, 10, 3);
  BatchLoader<float> loader(image_source<float>(set, {}, 1), {.batch = 4, .rows = parts.held_out});
  std::vector<std::int32_t> seen;
  for (int b = 0; b < loader.batches_per_epoch(); ++b) {
    const auto& batch = loader.next();
    seen.insert(seen.end(), batch.indices.begin(), batch.indices.end());
  }
  auto want = parts.held_out;
  std::ranges::sort(seen);
  std::ranges::sort(want);
  EXPECT_EQ(seen, want);
}

TEST(Loader, ResumingAnywhereGivesTheSameBits) {
  const ImageSet set = numbered_images(23);
  const Augmentation a{.flip = true, .crop_pad = 1, .colour_jitter = true};
  const LoaderOptions options{.batch = 5, .seed = 7};
  BatchLoader<float> again(image_source<float>(set, a, 2), options);
  std::vector<std::vector<float>> all;
  for (int b = 0; b < 15; ++b) {
    const auto& values = again.next().values;
    all.emplace_back(values.begin(), values.end());
  }
  for (const int start : {1, 4, 5, 7, 10, 14}) {
    LoaderOptions from = options;
    from.epoch = static_cast<std::uint32_t>(start / 5);
    from.first_batch = start % 5;
    BatchLoader<float> resumed(image_source<float>(set, a, 2), from);
    again.seek(from.epoch, from.first_batch);
    for (int b = start; b < 15; ++b) {
      EXPECT_TRUE(std::ranges::equal(resumed.next().values, all[static_cast<std::size_t>(b)]))
          << start << " " << b;
      EXPECT_TRUE(std::ranges::equal(again.next().values, all[static_cast<std::size_t>(b)]))
          << start << " " << b;
    }
  }
}

TEST(Loader, ABatchInHandIsNotOverwritten) {
  const ImageSet set = numbered_images(40);
  for (const int ahead : {1, 2, 5}) {
    BatchLoader<float> loader(image_source<float>(set, {}, 1),
                              {.batch = 4, .shuffle = false, .ahead = ahead});
    for (int b = 0; b < 10; ++b) {
      const auto& batch = loader.next();
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // time for the thread to do harm
      EXPECT_EQ(batch.indices[0], 4 * b);
      EXPECT_EQ(batch.values[0], static_cast<float>(4 * b) / 255.0f);
    }
  }
}

TEST(Loader, ASlowConsumerNeverWaits) {
  const ImageSet set = numbered_images(40);
  BatchLoader<float> loader(image_source<float>(set, {}, 1), {.batch = 4});
  loader.next();
  for (int b = 0; b < 20; ++b) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    loader.next();
  }
  EXPECT_LE(loader.waits(), 2);  // a busy machine may hold the thread back; it must not be the rule
}

TEST(Loader, ErrorsOfTheSourceReachTheConsumer) {
  SampleSource<float> source;
  const std::vector<std::int32_t> labels(10);
  source.n = 10;
  source.sample_size = 1;
  source.labels = labels;
  source.fill = [](std::uint32_t, std::int32_t index, float* out) {
    if (index == 5) throw DataError("sample 5 is broken");
    *out = 0;
  };
  BatchLoader<float> loader(source, {.batch = 2, .shuffle = false});
  loader.next();
  loader.next();
  EXPECT_MESSAGE(loader.next(), "sample 5 is broken");
  EXPECT_MESSAGE(loader.next(), "sample 5 is broken");
  loader.seek(0, 0);
  EXPECT_EQ(loader.next().indices[1], 1);
}

TEST(Loader, TablesAreCopiedRowByRow) {
  TableSet set{.n = 3, .d = 2};
  set.features = {1, 2, 3, 4, 5, 6};
  set.labels = {0, 1, 0};
  set.class_names = {"a", "b"};
  BatchLoader<float> loader(table_source<float>(set), {.batch = 2, .shuffle = false});
  loader.next();
  EXPECT_TRUE(std::ranges::equal(loader.next().values, std::vector<float>{5, 6}));
}

TEST(Loader, WrongUseIsRefused) {
  const ImageSet set = numbered_images(3);
  const auto make = [&](LoaderOptions options) {
    BatchLoader<float> l(image_source<float>(set, {}, 1), std::move(options));
  };
  EXPECT_MESSAGE(make({.batch = 0}), "loader: expected a batch >= 1, found 0");
  EXPECT_MESSAGE(make({.batch = 4, .keep_partial = false}), "3 samples make no full batch of 4");
  EXPECT_MESSAGE(make({.rows = {0, 3}}), "expected rows in 0..2, found 3");
  EXPECT_MESSAGE(make({.batch = 2, .first_batch = 2}), "expected a start in batches 0..1, found 2");
  EXPECT_MESSAGE(make({.ahead = 0}), "expected ahead >= 1, found 0");
  const ImageSet none = numbered_images(0);
  EXPECT_MESSAGE(BatchLoader<float>(image_source<float>(none, {}, 1), {}),
                 "expected samples, the set is empty");
}

}  // namespace
}  // namespace offramp::data
