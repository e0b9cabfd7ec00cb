// Input gradients through the exit path: closed forms, the whole net's tape, and what is computed.
#include "attacks/evasion/gradient.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/attacks/evasion/victims.h"
#include "tests/nets/nets.h"

namespace offramp::test {
namespace {

constexpr nets::Extent kMapPicture{2, 2, 3};  // 12 values

LinearNet three_exits() {
  return {kMapPicture, 4, {weights(48, 1, 1.f), weights(48, 2, 1.f), weights(48, 3, 1.f)}};
}

TEST(EvasionGradient, OfALinearNetIsTheClosedForm) {
  const std::vector<float> w = weights(48, 5, 1.f);
  const LinearNet net(kMapPicture, 4, {w});
  const Images images = noise_images(kMapPicture, 5, 4, 3);
  const Gradients g = gradients(
      victim_on(net), images, {Through::kExitTaken}, labelled(LossKind::kCrossEntropy, images.labels));
  for (std::size_t i = 0; i < 5; ++i) {
    std::vector<float> z(4, 0.f);
    for (std::size_t c = 0; c < 4; ++c) {
      for (std::size_t k = 0; k < 12; ++k) z[c] += w[c * 12 + k] * images.pixels[i * 12 + k];
    }
    std::vector<double> d(4, 0);
    EXPECT_NEAR(g.loss[i], cross_entropy(z, images.labels[i], 1, d), 1e-5);
    for (std::size_t k = 0; k < 12; ++k) {
      double expected = 0;
      for (std::size_t c = 0; c < 4; ++c) expected += d[c] * static_cast<double>(w[c * 12 + k]);
      EXPECT_NEAR(g.gradient[i * 12 + k], expected, 2e-6);
    }
  }
}

// The tape over the whole net, with the loss at one exit for one sample: nothing shared with the walk but the ops.
std::vector<float> by_the_whole_tape(const nets::Network& net,
                                     const Images& one,
                                     const std::vector<double>& weight) {
  const Tensor x = tensor_of(one, net.device());
  Recording recording({x});
  const std::vector<Tensor> logits = net.forward(x);
  const Tensor labels = Tensor::from<std::int32_t>({1}, one.labels, net.device());
  Tensor loss;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    if (weight[e] == 0) continue;
    const Tensor term = scale(cross_entropy(logits[e], labels), static_cast<float>(weight[e]));
    loss = loss ? add(loss, term) : term;
  }
  return recording.grad(loss)[x].to_host<float>();
}

TEST(EvasionGradient, EveryPathAgreesWithTheTapeOfTheWholeNet) {
  const auto net = tiny_net(7);
  const Images images = tiny_images(12, 4);
  Victim victim = victim_of("tiny", *net, nets::ExitPolicy::uniform(3, 0.36));
  const LogitLoss loss = labelled(LossKind::kCrossEntropy, images.labels);
  std::vector<int> left(3, 0);
  const auto compare = [&](const ExitPath& path,
                           const std::function<std::vector<double>(int exit)>& weight_of) {
    const Gradients g = gradients(victim, images, path, loss);
    for (int i = 0; i < images.n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const std::vector<float> expected = by_the_whole_tape(*net, part(images, i, 1), weight_of(g.exit[at]));
      double largest = 0;
      for (const float v : expected) largest = std::max(largest, std::abs(static_cast<double>(v)));
      EXPECT_GT(largest, 0);
      for (std::size_t k = 0; k < 64; ++k) {
        ASSERT_NEAR(g.gradient[at * 64 + k], expected[k], 1e-5 * largest) << "image " << i << ", pixel " << k;
      }
      if (path.through == Through::kExitTaken) ++left[static_cast<std::size_t>(g.exit[at])];
    }
  };
  const auto only = [](int exit) {
    std::vector<double> w(3, 0);
    w[static_cast<std::size_t>(exit)] = 1;
    return w;
  };
  compare({Through::kExitTaken}, only);
  compare({Through::kOneExit, 0}, only);
  compare({Through::kOneExit, 1}, only);
  compare({Through::kOneExit, 2}, only);
  compare({Through::kAllExits}, [](int) { return std::vector<double>{1, 1, 1}; });
  compare({Through::kInternalExits}, [](int) { return std::vector<double>{1, 1, 0}; });
  EXPECT_GT(left[0], 0) << "the threshold must part the images";
  EXPECT_LT(left[0], images.n);
}

TEST(EvasionGradient, OfASmoothVictimIsThatOfFiniteDifferences) {
  const Tensor first = Tensor::from<float>({6, 12}, weights(72, 8, 1.f), one_thread());
  const Tensor second = Tensor::from<float>({4, 6}, weights(24, 9, 2.f), one_thread());
  const FunctionNet net(kMapPicture, 4, [&](const Tensor& x) {
    return linear(tanh(linear(flatten(x), first, {})), second, {});
  });
  const Images images = noise_images(kMapPicture, 3, 4, 5);
  const Victim victim = victim_on(net);
  constexpr float kStep = 0x1p-7f;
  for (const LossKind kind : {LossKind::kCrossEntropy, LossKind::kDlr}) {
    const LogitLoss loss = labelled(kind, images.labels);
    const Gradients g = gradients(victim, images, {Through::kExitTaken}, loss);
    double largest = 0;
    for (std::size_t k = 0; k < 12; ++k) {
      Images up = images, down = images;
      for (std::size_t i = 0; i < 3; ++i) {
        up.pixels[i * 12 + k] += kStep;
        down.pixels[i * 12 + k] -= kStep;
      }
      const std::vector<double> above = loss_over_exits(victim, up, loss),
                                below = loss_over_exits(victim, down, loss);
      for (std::size_t i = 0; i < 3; ++i) {
        const double width =
            static_cast<double>(up.pixels[i * 12 + k]) - static_cast<double>(down.pixels[i * 12 + k]);
        EXPECT_NEAR(g.gradient[i * 12 + k], (above[i] - below[i]) / width, 1e-3)
            << "image " << i << ", value " << k;
        largest = std::max(largest, std::abs(static_cast<double>(g.gradient[i * 12 + k])));
      }
    }
    EXPECT_GT(largest, 0.1);
  }
}

// Rows of features, residual sums, depthwise convolutions: the walk knows none of them.
TEST(EvasionGradient, OfEveryFamilyIsThatOfTheWholeTape) {
  for (const char* name : kFamilies) {
    SCOPED_TRACE(name);
    nets::Network net(small_options(name), one_thread());
    nets::initialize(net, 4);
    const Images images = noise_images(net.input(), 4, 5, 6);
    Victim victim = victim_of(name, net, nets::ExitPolicy::uniform(net.num_exits(), 0.22));
    const Gradients g =
        gradients(victim, images, {Through::kExitTaken}, labelled(LossKind::kCrossEntropy, images.labels));
    for (int i = 0; i < images.n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      std::vector<double> weight(static_cast<std::size_t>(net.num_exits()), 0);
      weight[static_cast<std::size_t>(g.exit[at])] = 1;
      const std::vector<float> expected = by_the_whole_tape(net, part(images, i, 1), weight);
      double largest = 0;
      for (const float v : expected) largest = std::max(largest, std::abs(static_cast<double>(v)));
      EXPECT_GT(largest, 0);
      for (std::size_t k = 0; k < expected.size(); ++k) {
        ASSERT_NEAR(g.gradient[at * expected.size() + k], expected[k], 1e-4 * largest) << "value " << k;
      }
    }
  }
}

TEST(EvasionGradient, StopsWhereTheSampleLeaves) {
  const LinearNet net = three_exits();
  const Images images = noise_images(kMapPicture, 40, 4, 9);
  const Victim victim = victim_on(net, 0.5);
  const LogitLoss loss = labelled(LossKind::kCrossEntropy, images.labels);
  const Gradients g = gradients(victim, images, {Through::kExitTaken}, loss);
  std::vector<int> expected(3, 0);
  for (const std::int32_t exit : g.exit) {
    for (std::int32_t s = 0; s <= exit; ++s) ++expected[static_cast<std::size_t>(s)];
  }
  EXPECT_EQ(net.rows, expected);
  EXPECT_GT(expected[0], expected[1]);
  EXPECT_GT(expected[1], expected[2]);
  EXPECT_GT(expected[2], 0);
  EXPECT_EQ(gradient_macs(victim, 1), 600);

  const Judgement judged = judge(victim, images);
  for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ(judged.exit[i], g.exit[i]);

  const LinearNet second = three_exits();
  gradients(victim_on(second), images, {Through::kOneExit, 1}, loss);
  EXPECT_EQ(second.rows, (std::vector<int>{40, 40, 0}));
}

// Fallback most-confident: of a sample that nobody stopped the loss is that of the exit whose answer counts.
TEST(EvasionGradient, GoesThroughTheExitThatAnswers) {
  const LinearNet net = three_exits();
  const Images images = noise_images(kMapPicture, 40, 4, 9);
  Victim victim = victim_on(net, 0.75);
  victim.policy.fallback = nets::Fallback::kMostConfident;
  const LogitLoss loss = labelled(LossKind::kCrossEntropy, images.labels);
  const Gradients g = gradients(victim, images, {Through::kExitTaken}, loss);
  const Judgement judged = judge(victim, images);
  EXPECT_EQ(g.exit, judged.exit);
  EXPECT_EQ(g.predicted, judged.label);
  std::vector<Gradients> at;
  for (int e = 0; e < 3; ++e) at.push_back(gradients(victim, images, {Through::kOneExit, e}, loss));
  std::vector<int> unstopped(3, 0);
  for (int i = 0; i < images.n; ++i) {
    const nets::ExitChoice choice = nets::choose_exit(
        victim.policy, std::span(judged.outputs.confidence).subspan(judged.outputs.at(i, 0), 3));
    if (choice.stopped == 2) ++unstopped[static_cast<std::size_t>(choice.answered)];
    const Gradients& expected = at[static_cast<std::size_t>(choice.answered)];
    const auto sample = static_cast<std::size_t>(i);
    EXPECT_EQ(g.loss[sample], expected.loss[sample]) << "image " << i;
    for (std::size_t k = sample * 12; k < (sample + 1) * 12; ++k) {
      EXPECT_EQ(g.gradient[k], expected.gradient[k]) << "image " << i;
    }
  }
  for (int e = 0; e < 3; ++e) EXPECT_GT(unstopped[static_cast<std::size_t>(e)], 0) << "exit " << e + 1;
  EXPECT_LT(std::accumulate(unstopped.begin(), unstopped.end(), 0), images.n);
}

TEST(EvasionGradient, DoesNotDependOnTheBatch) {
  for (const char* name : {"small-cnn", "mobilenet", "resnet-8", "vgg-16"}) {
    const nets::NetOptions o = small_options(name);
    auto net = std::make_unique<nets::Network>(o, one_thread());
    nets::initialize(*net, 3);
    const Images images = noise_images(net->input(), 6, 5, 2);
    const Victim victim = victim_of(name, *net, nets::ExitPolicy::uniform(net->num_exits(), 0.24));
    for (const Through through : {Through::kExitTaken, Through::kAllExits}) {
      const LogitLoss all_labels = labelled(LossKind::kCrossEntropy, images.labels);
      const Gradients all = gradients(victim, images, {through}, all_labels);
      for (int i = 0; i < images.n; ++i) {
        const Images one = part(images, i, 1);
        const Gradients alone =
            gradients(victim, one, {through}, labelled(LossKind::kCrossEntropy, one.labels));
        const auto at = static_cast<std::size_t>(i) * images.size();
        const std::vector<float> mine(all.gradient.begin() + static_cast<std::ptrdiff_t>(at),
                                      all.gradient.begin() + static_cast<std::ptrdiff_t>(at + images.size()));
        EXPECT_EQ(alone.gradient, mine) << name << ", image " << i;
        EXPECT_EQ(alone.exit[0], all.exit[static_cast<std::size_t>(i)]);
      }
    }
  }
}

TEST(EvasionGradient, RefusesWhatTheVictimHasNot) {
  const LinearNet net = three_exits();
  const Images images = noise_images(kMapPicture, 1, 4, 9);
  const LogitLoss loss = labelled(LossKind::kCrossEntropy, images.labels);
  EXPECT_EQ(error_of([&] {
              gradients(victim_on(net), images, {Through::kOneExit, 3}, loss);
            }),
            "evade: victim has exits 1 to 3, asked for exit 4");
  EXPECT_EQ(error_of([&] {
              gradients(victim_on(net), images, {Through::kOneExit, -1}, loss);
            }),
            "evade: victim has exits 1 to 3, asked for exit 0");
  const LinearNet plain(kMapPicture, 4, {weights(48, 1, 1.f)});
  EXPECT_EQ(error_of([&] { gradients(victim_on(plain), images, {Through::kInternalExits}, loss); }),
            "evade: expected a victim with internal classifiers, victim has one exit");
  const FunctionNet infinite(kMapPicture, 4, [](const Tensor& x) {
    return linear(
        flatten(x), Tensor::full({4, 12}, std::numeric_limits<float>::infinity(), one_thread()), {});
  });
  EXPECT_NE(error_of([&] {
              gradients(victim_on(infinite), images, {Through::kExitTaken}, loss);
            }).find("evade: expected a finite gradient of victim, image 100 has"),
            std::string::npos);
}

}  // namespace
}  // namespace offramp::test
