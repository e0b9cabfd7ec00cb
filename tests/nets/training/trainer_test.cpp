#include "nets/training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "nets/exits/evaluation.h"
#include "nets/training/joint.h"
#include "tests/nets/nets.h"
#include "tests/nets/training/answers.h"
#include "tests/nets/training/memory_source.h"

namespace offramp::nets {
namespace {

using test::drawn;
using test::MemorySource;
using test::message_of;
using test::small_options;

std::filesystem::path scratch(const std::string& name) {
  return std::filesystem::path(::testing::TempDir()) / ("offramp_" + name + ".safetensors");
}

TrainOptions quick(const std::string& net, TrainKind kind = TrainKind::kJoint) {
  TrainOptions o = reference_options(net, kind);
  o.epochs = 2;
  o.batch_size = 8;
  o.seed = 5;
  return o;
}

// Everything a run is: parameters, running statistics and moments.
std::vector<float> state_of(Network& net, Trainer& trainer) {
  std::vector<float> state = net.parameters().values().to_host<float>();
  const auto buffers = net.parameters().buffers().to_host<float>();
  state.insert(state.end(), buffers.begin(), buffers.end());
  for (const auto& moment : trainer.optimizer().moments()) {
    const auto values = moment.values.to_host<float>();
    state.insert(state.end(), values.begin(), values.end());
  }
  return state;
}

TEST(Trainer, EveryFamilyLearnsItsClasses) {
  for (const char* name : {"resnet-8", "small-cnn"}) {
    SCOPED_TRACE(name);
    NetOptions options = small_options(name);
    options.side = 16;
    const auto owner = drawn(options, 3);
    Network& net = *owner;
    MemorySource source(net.input(), net.classes(), 60, 12, 9);
    TrainOptions o = quick(name);
    o.epochs = 20;
    o.milestones = {};
    o.learning_rate = 0.05;
    Trainer trainer(net, o, source);
    EpochReport first, last;
    while (!trainer.done()) {
      if (auto end = trainer.step().epoch_end) (end->epoch == 1 ? first : last) = *end;
    }
    EXPECT_EQ(trainer.steps_done(), trainer.steps_total());
    EXPECT_EQ(last.epoch, 20);
    EXPECT_EQ(last.samples, 60);
    EXPECT_LT(last.exit_loss.back(), 0.5 * first.exit_loss.back());
    const std::vector<double> right = accuracy(exit_outputs(net, source));
    EXPECT_GT(right.back(), 0.9);
  }
}

// A run that is killed after any step and continues from its checkpoint has the bits of an uninterrupted one.
TEST(Trainer, ResumeFromThreePointsEqualsAnUninterruptedRun) {
  for (const TrainKind kind : {TrainKind::kJoint, TrainKind::kExitsOnly}) {
    NetOptions options = small_options("small-cnn");
    options.side = 16;
    options.form = ExitForm::kTwoLayer;  // has dropout
    const TrainOptions train = quick("small-cnn", kind);
    constexpr int kSamples = 28, kBatch = 8;  // 4 batches an epoch, the last partial
    std::vector<float> whole;
    std::vector<double> whole_losses;
    {
      const auto net = drawn(options, 3);
      MemorySource source(net->input(), net->classes(), kSamples, kBatch, 9);
      Trainer trainer(*net, train, source);
      while (!trainer.done()) {
        if (auto end = trainer.step().epoch_end) whole_losses.push_back(end->loss);
      }
      whole = state_of(*net, trainer);
    }
    for (const int stop_after : {1, 4, 6}) {  // inside epoch 1, between epochs, inside epoch 2
      SCOPED_TRACE("stop after " + std::to_string(stop_after));
      const auto path = scratch("resume");
      std::vector<double> losses;
      {
        const auto net = drawn(options, 3);
        MemorySource source(net->input(), net->classes(), kSamples, kBatch, 9);
        Trainer trainer(*net, train, source);
        for (int i = 0; i < stop_after; ++i) {
          if (auto end = trainer.step().epoch_end) losses.push_back(end->loss);
        }
        trainer.save(path);
        if (stop_after == 6) static_cast<void>(trainer.step());  // lost work does not matter
      }
      const auto net = drawn(options, 99);  // other values: everything must come from the file
      MemorySource source(net->input(), net->classes(), kSamples, kBatch, 9);
      Trainer trainer(*net, train, source);
      trainer.load(path);
      EXPECT_EQ(trainer.steps_done(), stop_after);
      while (!trainer.done()) {
        if (auto end = trainer.step().epoch_end) losses.push_back(end->loss);
      }
      EXPECT_EQ(state_of(*net, trainer), whole);
      EXPECT_EQ(losses, whole_losses);
      std::filesystem::remove(path);
    }
  }
}

TEST(Trainer, ExitsOnlyLeavesTheTrunkAlone) {
  for (const bool eval_mode : {true, false}) {
    const auto net = drawn(small_options("resnet-8"), 3);
    MemorySource source(net->input(), net->classes(), 16, 8, 9);
    TrainOptions o = quick("resnet-8", TrainKind::kExitsOnly);
    o.trunk_in_eval_mode = eval_mode;
    const auto values = net->parameters().values().to_host<float>();
    const auto buffers = net->parameters().buffers().to_host<float>();
    Trainer trainer(*net, o, source);
    while (!trainer.done()) static_cast<void>(trainer.step());
    const auto after = net->parameters().values().to_host<float>();
    const auto trunk = static_cast<std::ptrdiff_t>(net->parameters().trunk_floats());
    EXPECT_TRUE(std::equal(values.begin(), values.begin() + trunk, after.begin()));
    EXPECT_FALSE(std::equal(values.begin() + trunk, values.end(), after.begin() + trunk));
    EXPECT_EQ(net->parameters().buffers().to_host<float>() == buffers, eval_mode);
  }
}

TEST(Trainer, ANonFiniteLossNamesStepAndLayerAndKeepsTheParameters) {
  const auto net = drawn(small_options("resnet-8"), 3);
  MemorySource source(net->input(), net->classes(), 24, 8, 9);
  source.poison_epoch = 1;
  source.poison_batch = 2;
  Trainer trainer(*net, quick("resnet-8"), source);
  static_cast<void>(trainer.step());
  static_cast<void>(trainer.step());
  const auto before = net->parameters().values().to_host<float>();
  const auto buffers = net->parameters().buffers().to_host<float>();
  EXPECT_EQ(message_of([&] { static_cast<void>(trainer.step()); }),
            "training: the loss is not finite at epoch 1, batch 2 (step 2); first non-finite values behind "
            "the input");
  EXPECT_EQ(net->parameters().values().to_host<float>(), before);
  EXPECT_EQ(net->parameters().buffers().to_host<float>(), buffers);

  const auto broken = drawn(small_options("resnet-8"), 3);
  MemorySource clean(broken->input(), broken->classes(), 24, 8, 9);
  Trainer second(*broken, quick("resnet-8"), clean);
  Tensor weight = broken->parameters().find("layers.1.layers.0.3.weight")->value;
  weight.data()[3] = INFINITY;
  EXPECT_EQ(message_of([&] { static_cast<void>(second.step()); }),
            "training: the loss is not finite at epoch 1, batch 0 (step 0); first non-finite values behind "
            "layers.1.layers.0.3, with a non-finite parameter layers.1.layers.0.3.weight");
}

TEST(Trainer, ResumeRefusesAnotherRun) {
  const auto path = scratch("refuse");
  const auto net = drawn(small_options("resnet-8"), 3);
  MemorySource source(net->input(), net->classes(), 24, 8, 9);
  TrainOptions o = quick("resnet-8");
  Trainer(*net, o, source).save(path);
  o.checkpoint_every = 3;  // does not change what is computed
  Trainer same(*net, o, source);
  EXPECT_EQ(message_of([&] { same.load(path); }), "nothing was thrown");
  o.learning_rate = 0.2;
  Trainer other(*net, o, source);
  EXPECT_EQ(message_of([&] { other.load(path); }),
            "resume: " + path.string() +
                " was trained with other training options: train.learning_rate was 0.1, now "
                "0.2");
  o.learning_rate = 0.1;
  MemorySource more(net->input(), net->classes(), 25, 8, 9);
  Trainer bigger(*net, o, more);
  EXPECT_EQ(message_of([&] { bigger.load(path); }),
            "resume: " + path.string() + " was trained with other data");
  std::filesystem::remove(path);
}

// Two classes, rows of features, no exits: the plain classifier through the same trainer, by Adam.
TEST(Trainer, APlainBinaryClassifierLearnsRowsOfFeatures) {
  NetOptions options = small_options("fcn-18-1");
  options.classes = 2;
  options.num_exits = 1;
  options.placement = Placement::kEqualCost;
  const auto net = drawn(options, 3);
  ASSERT_EQ(net->num_exits(), 1);
  MemorySource source(net->input(), 2, 60, 16, 9);
  TrainOptions o = quick("fcn-18-1");
  o.epochs = 15;
  o.optimizer = OptimizerKind::kAdam;
  o.learning_rate = 0.01;
  Trainer trainer(*net, o, source);
  EpochReport first, last;
  while (!trainer.done()) {
    if (auto end = trainer.step().epoch_end) (end->epoch == 1 ? first : last) = *end;
  }
  EXPECT_EQ(last.weights, std::vector<float>{1});
  EXPECT_EQ(last.exit_loss.size(), 1U);
  EXPECT_EQ(last.strategy_loss, 0);
  EXPECT_LT(last.loss, 0.5 * first.loss);
  EXPECT_GT(accuracy(exit_outputs(*net, source)).back(), 0.9);
}

// One step on the whole set: the report has the losses of the op on the logits of an equal net.
TEST(Trainer, AnObjectiveOfOnesOwnGivesTargetsWeightsAndStrategyLoss) {
  constexpr int kSamples = 12;
  NetOptions options = small_options("resnet-8");
  const auto net = drawn(options, 3), twin = drawn(options, 3);
  MemorySource source(net->input(), net->classes(), kSamples, kSamples, 9);
  const test::AnswersOfATable answers(kSamples, net->classes(), net->num_exits(), net->device());
  Trainer trainer(*net, quick("resnet-8"), answers, source);
  const StepReport step = trainer.step();
  source.start(1, 0);
  const Batch batch = source.next();
  MultiExitTargets targets = answers.targets(batch);
  targets.exit_weight = Tensor::full({net->num_exits()}, 1, net->device());
  const auto result = multi_exit_loss(twin->forward(batch.inputs, TrainPass{.seed = 5}), targets);
  const auto parts = result.parts.to_host<float>();
  EXPECT_EQ(step.loss, parts.front());
  EXPECT_EQ(step.exit_loss, std::vector<float>(parts.begin() + 1, parts.end() - 1));
  EXPECT_EQ(step.strategy_loss, parts.back());
  EXPECT_GT(step.strategy_loss, 0);
  ASSERT_TRUE(step.epoch_end);
  EXPECT_EQ(step.epoch_end->strategy_loss, step.strategy_loss);
  // What the optimiser saw is what every exit says about its own answer: not the labels' loss.
  const JointObjective labels(quick("resnet-8"), *net);
  EXPECT_NE(labels.weights(1), answers.weights(1));
  EXPECT_FALSE(labels.targets(batch).target);
}

// A copy of a checkpoint with other metadata, without tensors whose name begins with `without`.
void rewrite(const std::filesystem::path& from,
             const std::filesystem::path& to,
             const Metadata& changes,
             const std::vector<std::string>& erased = {},
             const std::string& without = "none") {
  const safetensors::Reader file(from);
  Metadata metadata = file.metadata();
  for (const auto& key : erased) metadata.erase(key);
  for (const auto& [key, value] : changes) metadata.insert_or_assign(key, value);
  std::vector<safetensors::Source> sources;
  for (const safetensors::Entry& entry : file.entries()) {
    if (!entry.name.starts_with(without))
      sources.push_back({entry.name, entry.dtype, entry.shape, file.bytes(entry)});
  }
  safetensors::write(to, sources, metadata);
}

TEST(Trainer, AFileThatDoesNotFitChangesNothing) {
  const auto good = scratch("good"), bad = scratch("bad");
  const auto saved = drawn(small_options("resnet-8"), 3), net = drawn(small_options("resnet-8"), 99);
  MemorySource source(net->input(), net->classes(), 24, 8, 9);
  const TrainOptions o = quick("resnet-8");
  Trainer before(*saved, o, source);
  for (int i = 0; i < 2; ++i) static_cast<void>(before.step());
  before.save(good);
  Trainer trainer(*net, o, source);
  static_cast<void>(trainer.step());
  const auto state = state_of(*net, trainer);
  const std::string position = bad.string() +
                               ": the training position in the metadata does not fit the net and "
                               "the data";
  const auto refused = [&](const Metadata& changes, const std::string& message) {
    SCOPED_TRACE(message);
    rewrite(good, bad, changes);
    EXPECT_EQ(message_of([&] { trainer.load(bad); }), message);
    EXPECT_TRUE(state_of(*net, trainer) == state);
    EXPECT_EQ(trainer.steps_done(), 1);
  };
  refused({{"state.right", "1,2"}}, position);
  refused({{"state.batch", "3"}}, position);
  refused({{"state.epoch", "4"}, {"state.step", "11"}}, position);
  refused({{"state.step", "3"}}, position);
  refused({{"state.seen", "x"}}, bad.string() + ": metadata state.seen: expected a number, got 'x'");
  refused(
      {{"train.gamma", "0.5"}},
      "resume: " + bad.string() + " was trained with other training options: train.gamma was 0.5, now 0.1");
  rewrite(good, bad, {}, {}, "optimizer.velocity.end");
  EXPECT_NE(message_of([&] { trainer.load(bad); }).find("is missing"), std::string::npos);
  EXPECT_TRUE(state_of(*net, trainer) == state);
  rewrite(good, bad, {}, {}, "layers.1.");
  EXPECT_NE(message_of([&] { trainer.load(bad); }).find("missing for this net"), std::string::npos);
  EXPECT_TRUE(state_of(*net, trainer) == state);
  trainer.load(good);
  EXPECT_TRUE(state_of(*net, trainer) == state_of(*saved, before));
  std::filesystem::remove(good);
  std::filesystem::remove(bad);
}

// Earlier builds knew one schedule, one way to scale it and no strategy loss.
TEST(Trainer, ACheckpointWithoutTodaysKeysResumes) {
  const auto path = scratch("new"), old = scratch("old");
  const auto net = drawn(small_options("resnet-8"), 3);
  MemorySource source(net->input(), net->classes(), 24, 8, 9);
  Trainer trainer(*net, quick("resnet-8"), source);
  static_cast<void>(trainer.step());
  trainer.save(path);
  rewrite(path, old, {}, {"train.schedule", "train.milestone_share", "state.strategy_sum"});
  const auto again = drawn(small_options("resnet-8"), 99);
  Trainer second(*again, quick("resnet-8"), source);
  second.load(old);
  EXPECT_EQ(second.steps_done(), 1);
  EXPECT_TRUE(state_of(*again, second) == state_of(*net, trainer));
  std::filesystem::remove(path);
  std::filesystem::remove(old);
}

// With a rate of nothing but the cosine's, each velocity is known from the one before: v = 0.9 v + g, and the
// parameters move by rate * v.
TEST(Trainer, TheCosineFallsFromStepToStep) {
  const auto net = drawn(small_options("resnet-8"), 3);
  MemorySource source(net->input(), net->classes(), 24, 8, 9);  // three steps an epoch
  TrainOptions o = quick("resnet-8");
  o.schedule = RateSchedule::kCosine;
  Trainer trainer(*net, o, source);
  std::vector<double> rates;
  for (int step = 0; step < 6; ++step) {
    const auto before = net->parameters().values().to_host<float>();
    const auto report = trainer.step();
    const auto after = net->parameters().values().to_host<float>();
    const auto velocity = trainer.optimizer().moments()[0].values.to_host<float>();
    std::size_t top = 0;
    for (std::size_t i = 0; i < velocity.size(); ++i)
      if (std::fabs(velocity[i]) > std::fabs(velocity[top])) top = i;
    const double expected = 0.05 * (1 + std::cos(M_PI * step / 6));
    const double moved = static_cast<double>(before[top]) - static_cast<double>(after[top]);
    // Two roundings of a parameter of about 1, and the product's.
    EXPECT_NEAR(moved, expected * static_cast<double>(velocity[top]), 1e-6 * (1 + std::fabs(moved))) << step;
    if (report.epoch_end) rates.push_back(report.epoch_end->learning_rate);
  }
  ASSERT_EQ(rates.size(), 2U);
  EXPECT_EQ(rates[0], CosineSchedule{0.1}.at_iteration(2, 6));
  EXPECT_EQ(rates[1], CosineSchedule{0.1}.at_iteration(5, 6));
}

TEST(TrainOptions, WrongUseIsNamed) {
  const auto net = drawn(small_options("small-cnn"), 3);
  TrainOptions o = quick("small-cnn");
  o.epochs = 0;
  EXPECT_EQ(message_of([&] { check(o, *net); }), "training: epochs must be at least 1, got 0");
  o = quick("small-cnn");
  o.learning_rate = -1;
  EXPECT_EQ(message_of([&] { check(o, *net); }), "training: the learning rate must be above 0, got -1");
  o = quick("small-cnn");
  o.exit_weights = {0.1};
  EXPECT_EQ(message_of([&] { check(o, *net); }),
            "training: expected a loss weight for each of 3 internal classifiers, got 1");
  NetOptions plain = small_options("small-cnn");
  plain.num_exits = 1;
  const auto one = drawn(plain, 3);
  EXPECT_EQ(message_of([&] { check(quick("small-cnn", TrainKind::kExitsOnly), *one); }),
            "training: exits-only wants a net with internal classifiers, small-cnn has one exit");
}

// specs: training 2, spot values.
TEST(TrainOptions, LossWeightsFollowTheRamp) {
  const auto expect = [](int epoch, std::vector<double> want) {
    const std::vector<float> got = loss_weights(TrainKind::kJoint, sdn_loss_weights(7), epoch, 100);
    ASSERT_EQ(got.size(), 7U);
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_FLOAT_EQ(got[i], static_cast<float>(want[i])) << i;
    EXPECT_EQ(got.back(), 1.f);
  };
  expect(1, {.0115, .013, .0145, .016, .0175, .019});
  expect(50, {.085, .16, .235, .31, .385, .46});
  expect(94, {.15, .292, .433, .574, .715, .856});
  expect(99, {.15, .30, .45, .60, .75, .90});
  EXPECT_EQ(loss_weights(TrainKind::kExitsOnly, {.3, .6}, 7, 25), (std::vector<float>{1, 1, 0}));
}

// specs: training 2: 0.1 in epochs 1-34, 0.01 in 35-59, 0.001 in 60-84, 0.0001 in 85-100.
TEST(TrainOptions, MilestonesKeepTheirShareOfAShorterRun) {
  TrainOptions o;
  EXPECT_EQ(o.scaled_steps().milestones, (std::vector<int>{35, 60, 85}));
  EXPECT_EQ(o.scaled_steps().at_epoch(34), 0.1);
  EXPECT_EQ(o.scaled_steps().at_epoch(35), 0.01);
  o.epochs = 30;
  EXPECT_EQ(o.scaled_steps().milestones, (std::vector<int>{11, 19, 26}));
  o.epochs = 1;
  EXPECT_EQ(o.scaled_steps().at_epoch(1), 0.1);
  o.step_at_start = false;
  o.epochs = 50;
  EXPECT_EQ(o.scaled_steps().milestones, (std::vector<int>{18, 30, 43}));
}

// specs: training 7: lr 0.1, a tenth from epoch 150 on and a hundredth from 225 (from 0), all losses alike.
TEST(TrainOptions, MsdnetHasItsOwnRecipe) {
  TrainOptions o = msdnet_options();
  EXPECT_EQ(o.epochs, 300);
  EXPECT_EQ(o.batch_size, 64);
  EXPECT_EQ(o.weight_decay, 1e-4);
  for (const auto& [epoch, rate] : {std::pair{150, .1}, {151, .01}, {225, .01}, {226, .001}, {300, .001}})
    EXPECT_NEAR(o.scaled_steps().at_epoch(epoch), rate, 1e-12) << epoch;
  const auto net = drawn(small_options("resnet-8"), 3);
  const std::vector<float> alike(static_cast<std::size_t>(net->num_exits()), 1.f);
  EXPECT_EQ(JointObjective(o, *net).weights(1), alike);
  o.plain_sum = false;
  EXPECT_NE(JointObjective(o, *net).weights(1), alike);
  o.plain_sum = true;
  EXPECT_EQ(train_options_from_metadata(to_metadata(o)), o);
  auto earlier = to_metadata(TrainOptions{});
  earlier.erase("train.plain_sum");  // files of earlier builds
  EXPECT_EQ(train_options_from_metadata(earlier), TrainOptions{});
}

TEST(TrainOptions, MetadataReadsBack) {
  TrainOptions o = reference_options("wrn-32-4", TrainKind::kExitsOnly);
  o.exit_weights = {0.1, 1.0 / 3};
  o.seed = 0xFFFFFFFFFFFFFFFF;
  o.step_at_start = false;
  o.schedule = RateSchedule::kCosine;
  o.milestone_share = MilestoneShare::kNumber;
  EXPECT_EQ(train_options_from_metadata(to_metadata(o)), o);
  EXPECT_EQ(reference_options("vgg-16", TrainKind::kJoint).weight_decay, 5e-4);
  EXPECT_EQ(reference_options("mobilenet", TrainKind::kJoint).weight_decay, 1e-4);
}

}  // namespace
}  // namespace offramp::nets
