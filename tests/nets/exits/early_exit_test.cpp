#include "nets/exits/early_exit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tests/nets/nets.h"

namespace offramp::nets {
namespace {

using test::drawn;
using test::message_of;
using test::pixels;
using test::small_options;

// A threshold between the confidences of a batch, so that every exit is taken by somebody.
ExitPolicy spreading_policy(const Network& net, const Tensor& x) {
  ExitPolicy policy;
  const std::vector<Tensor> logits = net.forward(x);
  for (std::size_t e = 0; e + 1 < logits.size(); ++e) {
    std::vector<float> c = confidence(logits[e]).to_host<float>();
    std::sort(c.begin(), c.end());
    policy.thresholds.push_back(c[c.size() * 2 / 3]);  // a confidence itself: tells >= from >
  }
  return policy;
}

// What the rule says, from the outputs of all exits.
ExitChoice expected(const ExitPolicy& policy,
                    const std::vector<std::vector<float>>& confidence,
                    std::size_t i) {
  std::vector<double> row;
  for (const auto& exit : confidence) row.push_back(static_cast<double>(exit[i]));
  return choose_exit(policy, row);
}

TEST(EarlyExit, WhatIsNotFiniteIsNoAnswer) {
  const auto net = drawn(small_options("small-cnn"), 7);
  const Tensor x = pixels(net->input(), 3, 5);
  const ExitPolicy policy = spreading_policy(*net, x);
  Tensor buffers = net->parameters().buffers();
  std::fill_n(buffers.data(), buffers.size(), std::nanf(""));
  EXPECT_EQ(message_of([&] { infer(*net, policy, x); }),
            "net: what exit 1 says is not finite: training diverged, or its file is damaged");
}

TEST(EarlyExit, EveryRuleAndFallbackAgreesWithComputingAllExits) {
  for (const char* name : test::kFamilies) {
    const auto net = drawn(small_options(name), 7);
    const Tensor x = pixels(net->input(), 12, 5);
    const std::vector<Tensor> logits = net->forward(x);
    std::vector<std::vector<float>> confidences, probabilities;
    for (const Tensor& l : logits) {
      confidences.push_back(confidence(l).to_host<float>());
      probabilities.push_back(softmax(l).to_host<float>());
    }
    ExitPolicy policy = spreading_policy(*net, x);
    for (const ExitRule rule : {ExitRule::kAtLeast, ExitRule::kAbove}) {
      for (const Fallback fallback : {Fallback::kLast, Fallback::kMostConfident}) {
        SCOPED_TRACE(std::string(name) + " " + to_text(rule) + " " + to_text(fallback));
        policy.rule = rule;
        policy.fallback = fallback;
        const EarlyExitResult result = infer(*net, policy, x);
        for (std::size_t i = 0; i < 12; ++i) {
          const ExitChoice want = expected(policy, confidences, i);
          EXPECT_EQ(result.exit[i], want.stopped + 1) << i;
          EXPECT_EQ(result.answered[i], want.answered + 1) << i;
          const auto classes = static_cast<std::size_t>(net->classes());
          const auto& p = probabilities[static_cast<std::size_t>(want.answered)];
          for (std::size_t c = 0; c < classes; ++c) {
            EXPECT_EQ(result.probabilities[i * classes + c], p[i * classes + c]) << i;
          }
          EXPECT_EQ(result.confidence[i], confidences[static_cast<std::size_t>(want.answered)][i]);
          EXPECT_EQ(result.probabilities[i * classes + static_cast<std::size_t>(result.label[i])],
                    result.confidence[i]);
        }
      }
    }
  }
}

TEST(EarlyExit, ASampleGetsTheSameBitsAloneAndInABatch) {
  constexpr std::int32_t kSamples = 150;  // more than go through the net together
  const auto net = drawn(small_options("resnet-8"), 7);
  const Tensor x = pixels(net->input(), kSamples, 5);
  const ExitPolicy policy = spreading_policy(*net, x);
  const EarlyExitResult together = infer(*net, policy, x);
  ASSERT_EQ(together.n, kSamples);
  ASSERT_EQ(together.probabilities.size(), kSamples * static_cast<std::size_t>(net->classes()));
  for (std::int32_t i = 0; i < kSamples; i += i < 9 ? 1 : 7) {
    const std::vector<std::int32_t> row = {i};
    const EarlyExitResult alone =
        infer(*net, policy, gather_rows(x, Tensor::from<std::int32_t>({1}, row, Device::cpu())));
    const auto at = static_cast<std::size_t>(i);
    EXPECT_EQ(alone.exit[0], together.exit[at]);
    EXPECT_EQ(alone.label[0], together.label[at]);
    EXPECT_EQ(alone.confidence[0], together.confidence[at]);
  }
}

// Counts the layers that run, through the observer of a segment.
class CountingNet final : public SegmentedNet {
 public:
  explicit CountingNet(const Network& net) : net_(net) {}
  int num_exits() const override { return net_.num_exits(); }
  int classes() const override { return net_.classes(); }
  const std::vector<Extent>& inputs() const override { return net_.inputs(); }
  Segment forward_segment(int segment, const Features& x) const override {
    return net_.forward_segment(segment, x, [&](std::string_view, const Tensor& y) {
      ++layers;
      rows += y.shape().n();
    });
  }
  mutable int layers = 0;
  mutable std::int64_t rows = 0;  // layers times samples

 private:
  const Network& net_;
};

TEST(EarlyExit, LayersBehindTheExitAreNotExecuted) {
  const auto net = drawn(small_options("resnet-8"), 7);
  const Tensor x = pixels(net->input(), 6, 5);
  const int exits = net->num_exits();
  std::vector<int> layers;  // of segments 0..s
  {
    const CountingNet counting(*net);
    Features features = {x};
    for (int s = 0; s < exits; ++s) {
      features = counting.forward_segment(s, features).features;
      layers.push_back(counting.layers);
    }
  }
  for (int e = 0; e < exits; ++e) {  // everybody leaves at exit e
    ExitPolicy policy = ExitPolicy::uniform(exits, 2.0);
    if (e + 1 < exits) policy.thresholds[static_cast<std::size_t>(e)] = 0.0;
    const CountingNet counting(*net);
    const EarlyExitResult result = infer(counting, policy, x);
    EXPECT_EQ(result.exit, std::vector<std::int32_t>(6, e + 1));
    EXPECT_EQ(counting.layers, layers[static_cast<std::size_t>(e)]);
  }
  // Mixed: each sample pays for its own segments only.
  const ExitPolicy policy = spreading_policy(*net, x);
  const CountingNet counting(*net);
  std::map<int, int> samples_of_segment;
  const EarlyExitResult result =
      infer(counting, policy, x, [&](int segment, int samples) { samples_of_segment[segment] = samples; });
  std::int64_t rows = 0;
  for (const std::int32_t exit : result.exit) rows += layers[static_cast<std::size_t>(exit - 1)];
  EXPECT_EQ(counting.rows, rows);
  for (int s = 0; s < exits; ++s) {
    const auto later = std::count_if(result.exit.begin(), result.exit.end(), [&](int e) { return e > s; });
    EXPECT_EQ(samples_of_segment[s], later);
  }
}

TEST(EarlyExit, WrongPoliciesAreNamed) {
  const auto net = drawn(small_options("resnet-8"), 7);
  const Tensor x = pixels(net->input(), 1, 5);
  EXPECT_EQ(message_of([&] { infer(*net, ExitPolicy::uniform(5, 0.5), x); }),
            "exit policy: a net with 3 exits wants 2 thresholds, got 4");
  EXPECT_EQ(message_of([&] { infer(*net, ExitPolicy{}, x); }),
            "exit policy: this net with 3 exits has no thresholds yet; offramp tune chooses them");
  EXPECT_EQ(message_of([&] { infer(*net, ExitPolicy::uniform(3, std::nan("")), x); }),
            "exit policy: thresholds must be numbers, got nan");
}

TEST(ExitPolicy, ThresholdsAreComparedInDouble) {
  const float c = 0.7f;  // 0.699999988...
  ExitPolicy policy = ExitPolicy::uniform(2, 0.7);
  EXPECT_FALSE(policy.stops(0, c));
  policy.thresholds[0] = static_cast<double>(c);
  EXPECT_TRUE(policy.stops(0, c));
  policy.rule = ExitRule::kAbove;
  EXPECT_FALSE(policy.stops(0, c));
  EXPECT_TRUE(policy.stops(1, 0.f));  // the last exit takes everybody
}

TEST(ExitPolicy, MetadataKeepsEveryDigit) {
  ExitPolicy policy;
  policy.thresholds = {0.1, 1.0 / 3, -0.25, std::nextafter(0.5, 1.0)};
  policy.rule = ExitRule::kAbove;
  policy.fallback = Fallback::kMostConfident;
  EXPECT_EQ(policy_from_metadata(to_metadata(policy)), policy);
  EXPECT_EQ(policy_from_metadata({}), ExitPolicy{});
}

}  // namespace
}  // namespace offramp::nets
