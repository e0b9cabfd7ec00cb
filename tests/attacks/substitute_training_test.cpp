#include "attacks/extraction/substitute_training.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "attacks/extraction/images.h"
#include "engine/recording.h"
#include "tests/attacks/message.h"
#include "tests/attacks/tiny.h"
#include "tests/support/temp_folder.h"

namespace offramp::attacks {
namespace {

constexpr int kImages = 70;

struct Answers {
  std::vector<float> probabilities;
  std::vector<std::int32_t> exits;
  FitTargets targets() const { return {probabilities, exits}; }
};

// The true class with 0.8, exits in turn.
Answers answers_for(const data::ImageSet& set, int num_exits = 3) {
  Answers a;
  for (int i = 0; i < set.n; ++i) {
    for (int c = 0; c < 3; ++c)
      a.probabilities.push_back(set.labels[static_cast<std::size_t>(i)] == c ? 0.8f : 0.1f);
    a.exits.push_back(1 + i % num_exits);
  }
  return a;
}

std::vector<float> values_of(const nets::Network& net) { return net.parameters().values().to_host<float>(); }

FitOptions quick(FitMethod method = FitMethod::kStrategy) {
  return {.method = method, .epochs = 3, .batch_size = 32, .seed = 5, .learning_rate = 0.05};
}

// The epoch's means behind its last batch.
std::optional<FitEpoch> step(Fit& fit) {
  const auto report = fit.trainer().step();
  return report.epoch_end ? std::optional(fit_epoch(*report.epoch_end)) : std::nullopt;
}
std::optional<FitEpoch> run(Fit& fit) {
  std::optional<FitEpoch> last;
  while (!fit.trainer().done()) last = step(fit);
  return last;
}

// One batch holds everything: the loss of step 1 by the formulas of the spec, in double, from the logits of
// an equal net. Checks sums of `terms` float32 operations of size at most `size`.
TEST(Fit, TheLossIsThatOfTheSpecification) {
  const auto set = test::bars(kImages, 1);
  const auto a = answers_for(set);
  for (const auto loss : {TargetLoss::kKlTargetFirst, TargetLoss::kKlOutputFirst})
    for (const bool last_term : {true, false})
      for (const auto mean : {HingeMean::kBatch, HingeMean::kPerExit}) {
        auto net = test::tiny_net(3), twin = test::tiny_net(3);
        FitOptions options = quick();
        options.batch_size = kImages;
        options.loss = loss;
        options.lambda = 0.7;
        options.strategy.last_exit_term = last_term;
        options.strategy.mean = mean;
        Fit fit(*net, options, set, a.targets());
        const auto epoch = step(fit);
        ASSERT_TRUE(epoch);

        std::vector<std::int32_t> all;
        for (int i = 0; i < kImages; ++i) all.push_back(i);
        const auto logits = twin->forward(image_source(set).load(all).to(twin->device()), nets::TrainPass{});
        double total = 0;
        std::vector<double> hinge(4, 0), count(4, 0);
        std::vector<std::vector<double>> confidence(3, std::vector<double>(kImages));
        for (std::size_t e = 0; e < 3; ++e) {
          const auto z = logits[e].to_host<float>();
          double sum = 0;
          for (std::size_t i = 0; i < kImages; ++i) {
            double normaliser = 0;
            for (std::size_t c = 0; c < 3; ++c) normaliser += std::exp(static_cast<double>(z[3 * i + c]));
            for (std::size_t c = 0; c < 3; ++c) {
              const double p = std::exp(static_cast<double>(z[3 * i + c])) / normaliser;
              const double v = static_cast<double>(a.probabilities[3 * i + c]);
              sum += loss == TargetLoss::kKlTargetFirst ? v * std::log(v / p) : p * std::log(p / v);
              confidence[e][i] = std::max(confidence[e][i], p);
            }
          }
          EXPECT_NEAR(epoch->exit_loss[e], sum / kImages, 1e-5 * std::abs(sum / kImages) + 1e-6);
          total += sum / kImages;
        }
        for (std::size_t i = 0; i < kImages; ++i) {
          const auto e = static_cast<std::size_t>(a.exits[i]);
          double l = e < 3 || last_term ? std::max(0.0, 0.95 - confidence[e - 1][i]) : 0;
          for (std::size_t j = 0; j + 1 < e; ++j) l += std::max(0.0, confidence[j][i] - 0.90);
          hinge[mean == HingeMean::kBatch ? 0 : e] += l;
          ++count[mean == HingeMean::kBatch ? 0 : e];
        }
        double strategy = 0;
        for (std::size_t e = 0; e < 4; ++e) strategy += count[e] > 0 ? hinge[e] / count[e] : 0;
        // float32 logits of about 1 through exp and log: relative error a few eps per image, 1e-5 is 80 eps.
        EXPECT_GT(strategy, 0.01);
        EXPECT_NEAR(epoch->strategy_loss, strategy, 1e-5 * strategy + 1e-6);
        EXPECT_NEAR(epoch->loss, total + 0.7 * strategy, 1e-5 * (total + strategy) + 1e-6);
      }
}

TEST(Fit, LearnsTheVictimsClassesAtEveryExit) {
  const auto set = test::bars(160, 2);
  const auto a = answers_for(set);
  for (const auto method : {FitMethod::kStrategy, FitMethod::kKnockoff}) {
    auto net = test::tiny_net(3);
    FitOptions options = quick(method);
    options.epochs = 10;
    Fit fit(*net, options, set, a.targets());
    std::vector<FitEpoch> epochs;
    while (!fit.trainer().done())
      if (auto epoch = step(fit)) epochs.push_back(*epoch);
    ASSERT_EQ(epochs.size(), 10u);
    for (std::size_t e = 0; e < 3; ++e) {
      EXPECT_LT(epochs.back().exit_loss[e], epochs.front().exit_loss[e]) << e;
      EXPECT_GT(epochs.back().exit_agreement[e], 0.6) << e;  // chance is a third
    }
  }
}

TEST(Fit, SaysWhatAConstantAnswerWouldAgreeWith) {
  const auto set = test::bars(4, 2);
  const std::vector<float> answers = {.2f, .5f, .3f, .6f, .3f, .1f, .1f, .8f, .1f, .4f, .5f, .1f};
  auto net = test::tiny_net(3);
  const Fit fit(*net, quick(FitMethod::kKnockoff), set, {answers, {}});
  EXPECT_EQ(fit.constant_agreement(), 0.75);
}

TEST(Fit, TheStrategyTermTeachesWhereToBeSure) {
  const auto set = test::bars(160, 2);
  const auto a = answers_for(set);
  const auto final_strategy_loss = [&](double lambda) {
    auto net = test::tiny_net(3);
    FitOptions options = quick();
    options.lambda = 1e-9;  // measures the term without following it
    options.epochs = 1;
    FitOptions training = quick();
    training.epochs = 6;
    training.lambda = lambda;
    Fit fit(*net, training, set, a.targets());
    run(fit);
    options.learning_rate = 1e-12;
    Fit probe(*net, options, set, a.targets());
    return run(probe)->strategy_loss;
  };
  EXPECT_LT(final_strategy_loss(2.0), final_strategy_loss(0.0));
}

TEST(Fit, KnockoffKnowsNothingOfExits) {
  const auto set = test::bars(kImages, 1);
  auto a = answers_for(set);
  std::vector<std::vector<float>> results;
  for (const bool with_exits : {true, false}) {
    auto net = test::tiny_net(3);
    FitTargets targets = a.targets();
    if (!with_exits) targets.exits = {};
    Fit fit(*net, quick(FitMethod::kKnockoff), set, targets);
    run(fit);
    results.push_back(values_of(*net));
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(Fit, AStoppedRunGoesOnToTheSameBits) {
  const auto set = test::bars(kImages, 1);
  const auto a = answers_for(set);
  auto whole = test::tiny_net(3);
  Fit steady(*whole, quick(), set, a.targets());
  std::vector<FitEpoch> expected;
  while (!steady.trainer().done())
    if (auto epoch = step(steady)) expected.push_back(*epoch);
  ASSERT_EQ(steady.trainer().steps_total(), 9);
  for (const int stop : {0, 1, 3, 5, 8}) {
    test::TempFolder folder;
    auto first = test::tiny_net(3), second = test::tiny_net(77);
    Fit before(*first, quick(), set, a.targets());
    for (int s = 0; s < stop; ++s) step(before);
    before.trainer().save(folder / "fit.safetensors");
    Fit after(*second, quick(), set, a.targets());
    after.trainer().load(folder / "fit.safetensors");
    EXPECT_EQ(after.trainer().steps_done(), stop);
    std::vector<FitEpoch> rest;
    while (!after.trainer().done())
      if (auto epoch = step(after)) rest.push_back(*epoch);
    EXPECT_EQ(values_of(*second), values_of(*whole)) << stop;
    ASSERT_FALSE(rest.empty());
    EXPECT_EQ(rest.back().loss, expected.back().loss);
    EXPECT_EQ(rest.front().exit_loss, expected[expected.size() - rest.size()].exit_loss) << stop;
  }
}

TEST(Fit, ACheckpointOfAnotherFitIsRefused) {
  const auto set = test::bars(kImages, 1);
  const auto a = answers_for(set);
  test::TempFolder folder;
  const auto path = folder / "fit.safetensors";
  auto net = test::tiny_net(3);
  Fit fit(*net, quick(), set, a.targets());
  fit.trainer().save(path);
  FitOptions other = quick();
  other.lambda = 2;
  Fit changed(*net, other, set, a.targets());
  EXPECT_EQ(test::message_of([&] { changed.trainer().load(path); }),
            "resume: " + path.string() + " was trained with other targets: fit.lambda was 0.5, now 2");
  auto moved = answers_for(set);
  moved.exits[0] = 2;
  Fit elsewhere(*net, quick(), set, moved.targets());
  EXPECT_NE(test::message_of([&] { elsewhere.trainer().load(path); }).find("fit.targets"), std::string::npos);
  auto wider = test::tiny_net(3, 2);
  for (auto& exit : moved.exits) exit = 1;
  Fit foreign(*wider, quick(), set, moved.targets());
  EXPECT_EQ(
      test::message_of([&] { foreign.trainer().load(path); }),
      "resume: " + path.string() +
          " was trained with other net options (sizes, classes and the pixels' statistics are those of the data: have "
          "they changed?)");
}

// 0.1 in the first epoch of however short a run; milestones 0.35, 0.60 and 0.85 of a longer one, rounded.
TEST(Fit, TheFirstEpochHasTheFullRate) {
  const auto set = test::bars(kImages, 1);
  const auto a = answers_for(set);
  const auto rates = [&](int epochs) {
    auto net = test::tiny_net(3);
    FitOptions options = quick();
    options.epochs = epochs;
    options.batch_size = kImages;
    options.learning_rate = 0.1;
    Fit fit(*net, options, set, a.targets());
    std::vector<double> seen;
    while (!fit.trainer().done()) seen.push_back(step(fit)->learning_rate);
    return seen;
  };
  EXPECT_EQ(rates(1), (std::vector<double>{0.1}));
  EXPECT_EQ(rates(2), (std::vector<double>{0.1, 0.0001}));
  EXPECT_EQ(rates(4), (std::vector<double>{0.1, 0.001, 0.0001, 0.0001}));
  EXPECT_EQ(rates(8), (std::vector<double>{0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001}));
}

TEST(Fit, ANonFiniteLossNamesTheLayer) {
  const auto set = test::bars(kImages, 1);
  const auto a = answers_for(set);
  auto net = test::tiny_net(3);
  const auto& entries = net->parameters().entries();
  const auto& entry =
      *std::find_if(entries.begin(), entries.end(), [](const auto& e) { return e.trainable; });
  Tensor weight = entry.value;
  weight.data()[0] = INFINITY;
  Fit fit(*net, quick(), set, a.targets());
  const std::string message = test::message_of([&] { step(fit); });
  EXPECT_NE(message.find("non-finite parameter " + entry.info.name), std::string::npos) << message;
}

TEST(Fit, AdamIsAnOption) {
  const auto set = test::bars(kImages, 1);
  const auto a = answers_for(set);
  auto net = test::tiny_net(3);
  FitOptions options = quick();
  options.optimizer = nets::OptimizerKind::kAdam;
  options.learning_rate = 0.01;
  options.epochs = 8;
  Fit fit(*net, options, set, a.targets());
  const double first = [&] {
    std::optional<FitEpoch> epoch;
    while (!epoch) epoch = step(fit);
    return epoch->loss;
  }();
  EXPECT_EQ(fit.trainer().optimizer().moments().size(), 2U);
  EXPECT_LT(run(fit)->loss, first);
}

// The real objectives as captured steps: the bits of eager ones. Tiny, as the device may be a simulated one.
TEST(Fit, CapturedStepsOnACudaDeviceHaveTheBitsOfEagerOnes) {
  try {
    static_cast<void>(Device::cuda());
  } catch (const std::exception& error) {
    GTEST_SKIP() << error.what();
  }
  const auto set = test::bars(5, 1);
  const auto a = answers_for(set);
  auto tiny = test::tiny_options();
  tiny.width_divisor = 16;
  for (const auto method : {FitMethod::kStrategy, FitMethod::kKnockoff}) {
    std::vector<std::vector<float>> results;
    std::vector<double> losses;
    for (const auto mode : {nets::StepMode::kEager, nets::StepMode::kCaptured}) {
      nets::Network net(tiny, Device::cuda());
      nets::initialize(net, 3);
      FitOptions options = quick(method);
      options.batch_size = 2;
      options.steps = mode;
      Fit fit(net, options, set, a.targets());
      losses.push_back(run(fit)->loss);
      results.push_back(values_of(net));
    }
    EXPECT_EQ(results[0], results[1]) << to_text(method);
    EXPECT_EQ(losses[0], losses[1]);
  }
}

TEST(Fit, WrongUseIsNamed) {
  const auto set = test::bars(kImages, 1);
  auto net = test::tiny_net(3);
  const auto message = [&](FitOptions options, const Answers& a) {
    return test::message_of([&] { Fit fit(*net, options, set, a.targets()); });
  };
  Answers a = answers_for(set);
  a.exits.pop_back();
  EXPECT_EQ(message(quick(), a), "fit: expected an exit for each of 70 images, got 69");
  a.exits.push_back(4);
  EXPECT_EQ(message(quick(), a), "fit: exits must be in 1..3, got 4");
  a = answers_for(set);
  a.probabilities[7] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(message(quick(), a), "fit: a probability is not finite");
  a.probabilities.pop_back();
  EXPECT_EQ(message(quick(), a), "fit: expected 70 x 3 probabilities, got 209");
  a = answers_for(set);
  FitOptions options = quick();
  options.lambda = -1;
  EXPECT_EQ(message(options, a), "fit: lambda must be finite and not negative, got -1");
  options = quick();
  options.loss = TargetLoss::kCrossEntropy;
  EXPECT_EQ(message(options, a), "fit: the loss must compare with probabilities, not labels");
  auto larger = set;
  larger.c = 2;
  EXPECT_EQ(test::message_of([&] { Fit fit(*net, quick(), larger, a.targets()); }),
            "fit: the net takes " + nets::to_string(net->input()) + ", the images are " +
                nets::to_string(nets::Extent{2, 8, 8}));
}

TEST(StartFrom, TakesOverTheTrunkOfANetWithOtherClasses) {
  test::TempFolder folder;
  auto options = test::tiny_options();
  options.classes = 7;
  options.mean = {0.9f};  // of other pixels: no matter for the queries
  options.std = {0.01f};
  nets::Network pretrained(options, test::one_thread());
  nets::initialize(pretrained, 42);
  nets::save_checkpoint(folder / "other.safetensors", pretrained, {});
  auto net = test::tiny_net(1);
  const auto before = values_of(*net);
  const auto mean = net->parameters().find("normalize.mean")->value.to_host<float>();
  EXPECT_GT(start_from(*net, folder / "other.safetensors"), 0);
  EXPECT_EQ(net->parameters().find("normalize.mean")->value.to_host<float>(), mean);
  for (const auto& entry : net->parameters().entries()) {
    if (entry.info.name.starts_with("normalize.")) continue;
    const auto* source = pretrained.parameters().find(entry.info.name);
    ASSERT_NE(source, nullptr) << entry.info.name;
    if (source->value.shape() == entry.value.shape()) {
      EXPECT_EQ(entry.value.to_host<float>(), source->value.to_host<float>()) << entry.info.name;
    }
  }
  EXPECT_NE(values_of(*net), before);
}

TEST(SubstituteOptions, AnMsdnetIsNamedAfterItsExits) {
  const auto substitute = [](const std::string& name, int exits) {
    nets::NetOptions o;
    o.name = name;
    o.exits_after = {2};
    o.placement = nets::Placement::kExplicit;
    return substitute_options(o, exits);
  };
  EXPECT_EQ(substitute("msdnet-4", 3).name, "msdnet-3");
  EXPECT_EQ(substitute("msdnet-growing-5", 6).name, "msdnet-growing-6");
  EXPECT_EQ(substitute("vgg-16", 3).name, "vgg-16");
  EXPECT_EQ(substitute("vgg-16", 3).num_exits, 3);
  EXPECT_TRUE(substitute("vgg-16", 3).exits_after.empty());
  EXPECT_EQ(substitute("vgg-16", 3).placement, nets::Placement::kEqualCost);
}

}  // namespace
}  // namespace offramp::attacks
