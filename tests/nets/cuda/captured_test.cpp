// Captured training steps and captured early exit: the bits of eager ones.
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/ops.h"
#include "kernels/cuda/memory.h"
#include "nets/exits/captured_inference.h"
#include "nets/training/trainer.h"
#include "tests/nets/cuda/device_nets.h"
#include "tests/nets/training/answers.h"

namespace offramp::nets {
namespace {

using test::MemorySource;

constexpr int kSamples = 10, kBatch = 2;  // five steps an epoch

NetOptions net_options() {
  NetOptions o = test::tiny_options("small-cnn");
  o.width_divisor = 16;
  o.form = ExitForm::kTwoLayer;  // has dropout: the step number is read on the device
  return o;
}

TrainOptions train_options(TrainKind kind = TrainKind::kJoint) {
  TrainOptions o = reference_options("small-cnn", kind);
  o.epochs = 2;
  o.batch_size = kBatch;
  o.seed = 5;
  o.learning_rate = 0.01;
  o.milestones = {50};  // the second epoch has another rate
  return o;
}

struct TrainingRun {
  TrainingRun(StepMode mode, const TrainOptions& train, int samples = kSamples)
      : net(net_options(), Device::cuda()),
        source(net.input(), net.classes(), samples, kBatch, 9, Device::cuda()),
        trainer((initialize(net, 3), net), train, source, mode) {}

  std::vector<float> state() {
    std::vector<float> all = net.parameters().values().to_host<float>();
    for (const Tensor& t : {net.parameters().buffers(), trainer.optimizer().moments()[0].values}) {
      const auto values = t.to_host<float>();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  Network net;
  MemorySource source;
  Trainer trainer;
};

class CudaCapturedTraining : public test::OnCuda {};

// Ragged: the last batch of an epoch is smaller and has a graph of its own.
TEST_F(CudaCapturedTraining, EqualsEagerTrainingBitForBit) {
  for (const TrainKind kind : {TrainKind::kJoint, TrainKind::kExitsOnly}) {
    SCOPED_TRACE(to_text(kind));
    const TrainOptions train = train_options(kind);
    TrainingRun eager(StepMode::kEager, train, kSamples - 1),
        captured(StepMode::kCaptured, train, kSamples - 1);
    int steps = 0;
    while (!eager.trainer.done()) {
      const StepReport a = eager.trainer.step(), b = captured.trainer.step();
      ++steps;
      EXPECT_EQ(a.loss, b.loss) << "step " << a.step;
      EXPECT_EQ(a.exit_loss, b.exit_loss);
      EXPECT_EQ(a.step, b.step);
      EXPECT_EQ(a.samples, b.samples);
      ASSERT_EQ(a.epoch_end.has_value(), b.epoch_end.has_value());
      if (a.epoch_end) {
        EXPECT_EQ(a.epoch_end->exit_accuracy, b.epoch_end->exit_accuracy);
        EXPECT_EQ(a.epoch_end->loss, b.epoch_end->loss);
      }
    }
    EXPECT_EQ(steps, 10);
    EXPECT_TRUE(captured.trainer.done());
    EXPECT_SAME_BITS(eager.state(), captured.state());
  }
}

// Targets from tables and the hinge on exits; the weights of the exits change with the epoch.
TEST_F(CudaCapturedTraining, AnotherObjectiveEqualsEagerTrainingBitForBit) {
  constexpr int kRagged = kSamples - 1;
  const TrainOptions train = train_options();
  std::vector<float> states[2];
  std::vector<EpochReport> epochs[2];
  for (const StepMode mode : {StepMode::kEager, StepMode::kCaptured}) {
    const auto which = static_cast<std::size_t>(mode);
    Network net(net_options(), Device::cuda());
    initialize(net, 3);
    MemorySource source(net.input(), net.classes(), kRagged, kBatch, 9, Device::cuda());
    const test::AnswersOfATable answers(kRagged, net.classes(), net.num_exits(), Device::cuda());
    Trainer trainer(net, train, answers, source, mode);
    while (!trainer.done()) {
      if (auto end = trainer.step().epoch_end) epochs[which].push_back(*end);
    }
    states[which] = net.parameters().values().to_host<float>();
  }
  EXPECT_SAME_BITS(states[0], states[1]);
  ASSERT_EQ(epochs[1].size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(epochs[0][i].loss, epochs[1][i].loss);
    EXPECT_EQ(epochs[0][i].exit_loss, epochs[1][i].exit_loss);
    EXPECT_EQ(epochs[0][i].exit_accuracy, epochs[1][i].exit_accuracy);
    EXPECT_EQ(epochs[0][i].strategy_loss, epochs[1][i].strategy_loss);
    EXPECT_GT(epochs[1][i].strategy_loss, 0);
  }
}

// After the recording a step asks for memory for its batch alone: inputs and labels.
TEST_F(CudaCapturedTraining, AReplayedStepAllocatesNothing) {
  TrainingRun run(StepMode::kCaptured, train_options(), 24);
  const auto allocations = [&] { return run.net.device().cuda_context().allocator().stats().allocations; };
  for (int i = 0; i < 3; ++i) static_cast<void>(run.trainer.step());
  const auto before = allocations();
  for (int i = 0; i < 4; ++i) static_cast<void>(run.trainer.step());
  EXPECT_EQ(allocations() - before, 4 * 2);
}

TEST_F(CudaCapturedTraining, ACheckpointAfterAnyStepContinuesWithTheSameBits) {
  const TrainOptions train = train_options();
  TrainingRun whole(StepMode::kEager, train);
  while (!whole.trainer.done()) static_cast<void>(whole.trainer.step());
  const auto path = std::filesystem::path(::testing::TempDir()) / "offramp_captured.safetensors";
  for (const int stop_after : {2, 5}) {
    SCOPED_TRACE(stop_after);
    {
      TrainingRun first(StepMode::kCaptured, train);
      for (int i = 0; i < stop_after; ++i) EXPECT_EQ(first.trainer.step().step, i);
      first.trainer.save(path);
      // The step that was under way is in the file; its report still comes.
      const std::int64_t saved = first.trainer.steps_done();
      EXPECT_EQ(saved, stop_after == 2 ? 3 : 5);
      EXPECT_EQ(first.trainer.step().step, stop_after);
    }
    TrainingRun second(StepMode::kCaptured, train);
    second.trainer.load(path);
    while (!second.trainer.done()) static_cast<void>(second.trainer.step());
    EXPECT_SAME_BITS(second.state(), whole.state());
  }
  std::filesystem::remove(path);
}

TEST_F(CudaCapturedTraining, NothingIsUnderWayWhereACheckpointIsDue) {
  TrainOptions train = train_options();
  train.checkpoint_every = 2;
  TrainingRun run(StepMode::kCaptured, train);
  const auto path = std::filesystem::path(::testing::TempDir()) / "offramp_captured_every.safetensors";
  for (int i = 0; i < 2; ++i) static_cast<void>(run.trainer.step());
  run.trainer.save(path);
  EXPECT_EQ(run.trainer.steps_done(), 2);
  std::filesystem::remove(path);
}

// The poisoned step and the one that was launched behind it change no parameter and no moment.
TEST_F(CudaCapturedTraining, ANonFiniteLossIsSeenAStepLateAndChangesNothing) {
  TrainOptions train = train_options();
  train.checkpoint_every = 0;
  TrainingRun run(StepMode::kCaptured, train, 24), eager(StepMode::kEager, train, 24);
  for (TrainingRun* r : {&run, &eager}) {
    r->source.poison_epoch = 1;
    r->source.poison_batch = 3;
    for (int i = 0; i < 3; ++i) static_cast<void>(r->trainer.step());
  }
  EXPECT_EQ(test::message_of([&] { static_cast<void>(run.trainer.step()); }),
            "training: the loss is not finite at epoch 1, batch 3 (step 3); first non-finite values behind "
            "the input");
  EXPECT_SAME_BITS(run.net.parameters().values().to_host<float>(),
                   eager.net.parameters().values().to_host<float>());
  EXPECT_SAME_BITS(run.net.parameters().buffers().to_host<float>(),
                   eager.net.parameters().buffers().to_host<float>());
  EXPECT_SAME_BITS(run.trainer.optimizer().moments()[0].values.to_host<float>(),
                   eager.trainer.optimizer().moments()[0].values.to_host<float>());
}

class CudaCapturedInference : public test::OnCuda {};

// Every size of a batch up to 8 pads to a power of two; each is asked for often enough to be recorded and
// replayed.
TEST_F(CudaCapturedInference, EqualsEagerEarlyExitBitForBit) {
  for (const char* name : {"small-cnn", "fcn-18-1"}) {
    NetOptions options = test::tiny_options(name);
    if (options.features == 0) options.width_divisor = 16;
    Network net(options, Device::cuda());
    initialize(net, 7);
    ExitPolicy policy;
    const Tensor all = test::pixels(net.input(), 8, 5).to(Device::cuda());
    for (const Tensor& logits : net.forward(all)) {
      std::vector<float> c = confidence(logits).to_host<float>();
      std::sort(c.begin(), c.end());
      policy.thresholds.push_back(c[5]);  // a confidence itself: tells >= from >
    }
    policy.thresholds.pop_back();
    for (const ExitRule rule : {ExitRule::kAtLeast, ExitRule::kAbove}) {
      for (const Fallback fallback : {Fallback::kLast, Fallback::kMostConfident}) {
        policy.rule = rule;
        policy.fallback = fallback;
        CapturedInference captured(net, policy, 8);
        for (int round = 0; round < 3; ++round) {
          for (const int n : {8, 5, 1}) {
            SCOPED_TRACE(std::string(name) + " " + to_text(rule) + " " + to_text(fallback) + " n " +
                         std::to_string(n) + " round " + std::to_string(round));
            const Tensor x =
                test::pixels(net.input(), n, static_cast<std::uint64_t>(5 + round)).to(Device::cuda());
            const EarlyExitResult a = infer(net, policy, x), b = captured.infer(x);
            EXPECT_EQ(a.exit, b.exit);
            EXPECT_EQ(a.answered, b.answered);
            EXPECT_EQ(a.label, b.label);
            EXPECT_SAME_BITS(a.confidence, b.confidence);
            EXPECT_SAME_BITS(a.probabilities, b.probabilities);
          }
        }
        EXPECT_GE(captured.recorded(), 3);
      }
    }
  }
}

// Of an exit that says what is not finite no answer is made, also where a later exit would hide it.
TEST_F(CudaCapturedInference, WhatIsNotFiniteIsNoAnswer) {
  Network net(test::tiny_options("fcn-18-1"), Device::cuda());
  initialize(net, 7);
  ASSERT_GE(net.num_exits(), 3);
  const Tensor x = test::pixels(net.input(), 3, 5).to(Device::cuda());
  std::vector<float> poisoned = x.to_nchw();
  poisoned.back() = std::nanf("");
  const Tensor bad = Tensor::from_nchw(x.shape(), poisoned, Device::cuda());
  for (const Fallback fallback : {Fallback::kLast, Fallback::kMostConfident}) {
    for (const double threshold : {0.0, 2.0}) {
      ExitPolicy policy = ExitPolicy::uniform(net.num_exits(), threshold);
      policy.fallback = fallback;
      CapturedInference captured(net, policy, 4);
      static_cast<void>(captured.infer(x));  // answers that must not come back
      EXPECT_EQ(test::message_of([&] { static_cast<void>(captured.infer(bad)); }),
                test::message_of([&] { static_cast<void>(infer(net, policy, bad)); }));
      EXPECT_EQ(captured.infer(x).label, infer(net, policy, x).label);
    }
  }
}

TEST_F(CudaCapturedInference, RefusesOtherBatches) {
  NetOptions options = test::tiny_options("fcn-18-1");
  Network net(options, Device::cuda());
  initialize(net, 7);
  const ExitPolicy policy = ExitPolicy::uniform(net.num_exits(), 0.9);
  CapturedInference captured(net, policy, 2);
  const Tensor x = test::pixels(net.input(), 3, 5).to(Device::cuda());
  EXPECT_EQ(test::message_of([&] { static_cast<void>(captured.infer(x)); }),
            "captured inference: expected 1 to 2 samples, got [3,13]");
}

TEST(CapturedTraining, IsRefusedOnTheCpu) {
  Network net(net_options(), Device::cpu());
  initialize(net, 3);
  MemorySource source(net.input(), net.classes(), 4, 2, 9);
  EXPECT_EQ(test::message_of([&] { Trainer(net, train_options(), source, StepMode::kCaptured); }),
            "training: captured steps want a cuda device, got cpu");
}

}  // namespace
}  // namespace offramp::nets
