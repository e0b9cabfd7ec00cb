// Training over ranks: the bits of one process with the same shards. Ranks are threads here; tests/tools/ranks_verb_test.cpp
// starts real processes.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "nets/training/trainer.h"
#include "tests/nets/nets.h"
#include "tests/nets/training/memory_source.h"
#include "tests/support/thread_ranks.h"

namespace offramp::nets {
namespace {

using test::message_of;
using test::small_options;
using test::ThreadRanks;

constexpr int kRankSamples = 29,
              kRankBatch = 12;  // 3 batches an epoch, the last of 5: shards of 3, and of 1 and 2

// The samples of a rank, cut out of whole batches.
class PartSource final : public BatchSource {
 public:
  PartSource(test::MemorySource& whole, const Shards& shards) : whole_(whole), shards_(shards) {}
  int samples() const override { return whole_.samples(); }
  int batches() const override { return whole_.batches(); }
  void start(int epoch, int first_batch) override { whole_.start(epoch, first_batch); }
  Batch next() override {
    if (fail_after >= 0 && fail_after-- == 0) throw DataError("a bad sample");
    const Batch b = whole_.next();
    const int n = b.inputs.shape().n();
    const std::int64_t begin = std::int64_t{n} * shards_.first() / shards_.count(),
                       end = std::int64_t{n} * (shards_.first() + shards_.local()) / shards_.count();
    std::vector<std::int32_t> rows;
    for (std::int64_t i = begin; i < end; ++i) rows.push_back(static_cast<std::int32_t>(i));
    const Tensor index = Tensor::from<std::int32_t>({end - begin}, rows, b.inputs.device());
    const auto labels = b.labels.to_host<std::int32_t>();
    return {
        gather_rows(b.inputs, index),
        Tensor::from<std::int32_t>({end - begin},
                                   std::vector<std::int32_t>(labels.begin() + begin, labels.begin() + end),
                                   b.inputs.device()),
        std::vector<std::int32_t>(b.indices.begin() + begin, b.indices.begin() + end),
        n};
  }
  int fail_after = -1;  // throws at that batch, counted from the start

 private:
  test::MemorySource& whole_;
  const Shards& shards_;
};

struct RankRun {
  NetOptions net;
  TrainOptions train;
  int threads = 1;
  int stop_after = 1 << 30;                    // steps
  std::filesystem::path load = {}, save = {};  // by rank 0
  int fail_rank = -1, fail_batch = 0;          // bad data there
  int poison_batch = -1;                       // a NaN in the first epoch
};

// What a run left, on one rank.
struct Left {
  std::vector<float> state;
  std::vector<double> epochs;  // losses and accuracies, of all epochs
  std::int64_t steps = 0;
};

std::vector<float> everything(Network& net, Trainer& trainer) {
  std::vector<float> state = net.parameters().values().to_host<float>();
  const auto add = [&](const std::vector<float>& values) {
    state.insert(state.end(), values.begin(), values.end());
  };
  add(net.parameters().buffers().to_host<float>());
  for (const auto& moment : trainer.optimizer().moments()) add(moment.values.to_host<float>());
  return state;
}

Left train_as(const RankRun& r, Transport* transport) {
  const int rank = transport == nullptr ? 0 : transport->rank();
  const Device device = Device::make_cpu({.threads = r.threads});
  Network net(r.net, device);
  initialize(net, rank == 0 ? 3 : 99);  // the others get rank 0's
  test::MemorySource whole(net.inputs().front(), net.classes(), kRankSamples, kRankBatch, 9, device);
  if (r.poison_batch >= 0) whole.poison_epoch = 1, whole.poison_batch = r.poison_batch;
  const Shards shards(std::max(1, r.train.shards), transport);
  PartSource source(whole, shards);
  if (rank == r.fail_rank) source.fail_after = r.fail_batch;
  Trainer trainer(net, r.train, source, StepMode::kEager, {.host = transport});
  if (rank == 0 && !r.load.empty()) trainer.load(r.load);
  trainer.share();
  Left left;
  const auto keep = [&] {
    left.state = everything(net, trainer);
    left.steps = trainer.steps_done();
    if (rank == 0 && !r.save.empty()) trainer.save(r.save);
  };
  try {
    for (int i = 0; i < r.stop_after && !trainer.done(); ++i) {
      const StepReport step = trainer.step();
      if (!step.epoch_end) continue;
      left.epochs.push_back(step.epoch_end->loss);
      for (const auto* values : {&step.epoch_end->exit_loss, &step.epoch_end->exit_accuracy})
        left.epochs.insert(left.epochs.end(), values->begin(), values->end());
      EXPECT_EQ(step.epoch_end->samples, kRankSamples);
    }
  } catch (const Error&) {
    keep();
    throw;
  }
  keep();
  return left;
}

// Every rank ends with the same; that is what comes back.
Left train_over(int ranks, const RankRun& r) {
  if (ranks == 1) return train_as(r, nullptr);
  std::vector<Left> left(static_cast<std::size_t>(ranks));
  ThreadRanks all(ranks);
  for (const std::exception_ptr& thrown :
       all.run([&](Transport& t) { left[static_cast<std::size_t>(t.rank())] = train_as(r, &t); })) {
    if (thrown) std::rethrow_exception(thrown);
  }
  for (const Left& l : left) {
    EXPECT_EQ(l.state, left[0].state);
    EXPECT_EQ(l.epochs, left[0].epochs);
  }
  return left[0];
}

TrainOptions rank_options(const std::string& net, int shards, TrainKind kind = TrainKind::kJoint) {
  TrainOptions o = reference_options(net, kind);
  o.epochs = 2;
  o.batch_size = kRankBatch;
  o.seed = 5;
  o.shards = shards;
  return o;
}

TEST(Ranks, EveryFamilyHasTheBitsOfOneProcessWithTheSameShards) {
  for (const char* name : test::kFamilies) {
    SCOPED_TRACE(name);
    RankRun r{.net = small_options(name), .train = rank_options(name, 4)};
    if (r.net.features == 0) r.net.side = 32;
    const Left one = train_over(1, r);
    EXPECT_EQ(train_over(2, r).state, one.state);
    const Left four = train_over(4, r);
    EXPECT_EQ(four.state, one.state);
    EXPECT_EQ(four.epochs, one.epochs);
    r.threads = 2;
    EXPECT_EQ(train_over(1, r).state, one.state);
  }
}

TEST(Ranks, DropoutExitsOnlyAndMixedPrecisionToo) {
  for (const TrainKind kind : {TrainKind::kJoint, TrainKind::kExitsOnly}) {
    for (const Precision precision : {Precision::kFloat32, Precision::kMixed}) {
      RankRun r{.net = small_options("small-cnn"), .train = rank_options("small-cnn", 3, kind)};
      r.net.side = 16;
      r.net.form = ExitForm::kTwoLayer;  // has dropout
      r.net.precision = precision;
      const Left one = train_over(1, r), three = train_over(3, r);
      EXPECT_EQ(three.state, one.state);
      EXPECT_EQ(three.epochs, one.epochs);
    }
  }
}

// The sums are those of a whole batch but for their order.
TEST(Ranks, ShardsLearnWhatAWholeBatchLearns) {
  RankRun r{.net = small_options("resnet-8"), .train = rank_options("resnet-8", 0)};
  r.net.side = 16;
  r.stop_after = 1;
  const Left whole = train_over(1, r);
  r.train.shards = 4;
  const Left shards = train_over(1, r);
  ASSERT_EQ(shards.state.size(), whole.state.size());
  EXPECT_NE(shards.state, whole.state);  // else this test sees nothing
  const Network net(r.net, Device::cpu());
  const double bound = test::pass_bound(net.architecture(), kRankBatch, 3);
  double largest = 0, apart = 0;
  for (std::size_t i = 0; i < whole.state.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(whole.state[i])));
    apart =
        std::max(apart, std::abs(static_cast<double>(whole.state[i]) - static_cast<double>(shards.state[i])));
  }
  EXPECT_LE(apart, bound * largest);
}

TEST(Ranks, ARunGoesOnWithAnotherNumberOfRanks) {
  RankRun r{.net = small_options("small-cnn"), .train = rank_options("small-cnn", 4)};
  r.net.side = 16;
  const Left whole = train_over(1, r);
  const auto path = std::filesystem::path(::testing::TempDir()) / "offramp_ranks.safetensors";
  for (const auto& [before, after] : {std::pair{2, 4}, {4, 1}, {1, 2}}) {
    SCOPED_TRACE(std::to_string(before) + " then " + std::to_string(after));
    RankRun first = r, second = r;
    first.stop_after = 4;
    first.save = second.load = path;
    static_cast<void>(train_over(before, first));
    EXPECT_EQ(train_over(after, second).state, whole.state);
  }
  RankRun other = r;  // another number of shards is another run
  other.train.shards = 2;
  other.load = path;
  EXPECT_NE(message_of([&] { static_cast<void>(train_over(1, other)); }).find("train.shards was 4, now 2"),
            std::string::npos);
  std::filesystem::remove(path);
}

// A rank that ends in the middle of a step: the others stand where the step began, and what rank 0 saves then goes on
// with the bits of an undisturbed run.
TEST(Ranks, AStepThatARankBreaksOffChangesNothing) {
  RankRun r{.net = small_options("small-cnn"), .train = rank_options("small-cnn", 2)};
  r.net.side = 16;
  const Left whole = train_over(1, r);
  const auto path = std::filesystem::path(::testing::TempDir()) / "offramp_broken.safetensors";
  RankRun broken = r;
  broken.fail_rank = 1;
  broken.fail_batch = 3;
  broken.save = path;
  ThreadRanks all(2);
  const auto thrown = all.run([&](Transport& t) { static_cast<void>(train_as(broken, &t)); });
  ASSERT_TRUE(thrown[0] && thrown[1]);
  EXPECT_THROW(std::rethrow_exception(thrown[1]), DataError);
  try {
    std::rethrow_exception(thrown[0]);
  } catch (const RankLost& lost) {
    EXPECT_EQ(lost.rank(), 1);
  }
  RankRun rest = r;
  rest.load = path;
  EXPECT_EQ(train_over(1, rest).state, whole.state);
  std::filesystem::remove(path);
}

// Also where the NaN is in the samples of one rank only, all stop with the same words and unchanged parameters.
TEST(Ranks, ALossThatIsNotFiniteEndsAllOfThem) {
  RankRun r{.net = small_options("small-cnn"), .train = rank_options("small-cnn", 2)};
  r.net.side = 16;
  r.poison_batch = 1;
  const std::string alone = message_of([&] { static_cast<void>(train_over(1, r)); });
  EXPECT_NE(alone.find("step 1"), std::string::npos) << alone;
  EXPECT_NE(alone.find("the input"), std::string::npos) << alone;
  ThreadRanks all(2);
  for (const auto& thrown : all.run([&](Transport& t) { static_cast<void>(train_as(r, &t)); }))
    EXPECT_EQ(message_of([&] { std::rethrow_exception(thrown); }), alone);
}

TEST(Ranks, WhatCannotBeDividedIsRefused) {
  RankRun r{.net = small_options("small-cnn"), .train = rank_options("small-cnn", 3)};
  r.net.side = 16;
  EXPECT_EQ(
      message_of([&] { static_cast<void>(train_over(2, r)); }),
      "shards: each of the 2 ranks holds equally many shards, which 3 shards do not allow; take a multiple of 2, "
      "or a number of ranks that divides 3");
  r.train.shards = 6;
  EXPECT_EQ(
      message_of([&] { static_cast<void>(train_over(1, r)); }),
      "training: 6 shards want batches of as many samples; the last one of an epoch has 5 (29 samples in "
      "batches of 12)");
  r.train.shards = 13;
  EXPECT_NE(message_of([&] { static_cast<void>(train_over(1, r)); }).find("these have 12"),
            std::string::npos);
  r.train.shards = 0;
  EXPECT_NE(message_of([&] { static_cast<void>(train_over(2, r)); }).find("which 1 shards do not allow"),
            std::string::npos);
}

}  // namespace
}  // namespace offramp::nets
