#include "nets/graph/network.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/errors.h"
#include "tests/nets/nets.h"

namespace offramp::nets {
namespace {

using test::message_of;
using test::pixels;
using test::small_options;

TEST(Network, SegmentsGiveTheLogitsOfTheWholeForward) {
  for (const char* name : test::kFamilies) {
    SCOPED_TRACE(name);
    const auto owner_net = test::drawn(small_options(name), 7);
    const Network& net = *owner_net;
    const Tensor x = pixels(net.input(), 3, 11);
    const std::vector<Tensor> whole = net.forward(x);
    ASSERT_EQ(static_cast<int>(whole.size()), net.num_exits());
    Features features = {x};
    for (int s = 0; s < net.num_exits(); ++s) {
      const Segment segment = net.forward_segment(s, features);
      EXPECT_EQ(segment.logits.to_host<float>(), whole[static_cast<std::size_t>(s)].to_host<float>());
      EXPECT_EQ(segment.logits.shape(), (Shape{3, net.classes()}));
      features = segment.features;
    }
    EXPECT_TRUE(features.empty());
  }
}

TEST(Network, ASampleGivesTheSameBitsInEveryBatch) {
  for (const char* name : test::kFamilies) {
    SCOPED_TRACE(name);
    const auto owner_net = test::drawn(small_options(name), 7);
    const Network& net = *owner_net;
    constexpr int kBatch = 9;
    const Tensor x = pixels(net.input(), kBatch, 11);
    const std::vector<Tensor> whole = net.forward(x);
    for (const int n : {1, 2, 5}) {
      std::vector<std::int32_t> rows;
      for (int i = 0; i < n; ++i) rows.push_back(kBatch - n + i);
      const Tensor index = Tensor::from<std::int32_t>({n}, rows, Device::cpu());
      const std::vector<Tensor> part = net.forward(gather_rows(x, index));
      for (std::size_t e = 0; e < part.size(); ++e) {
        EXPECT_EQ(part[e].to_host<float>(), gather_rows(whole[e], index).to_host<float>())
            << "exit " << e + 1 << " batch " << n;
      }
    }
  }
}

TEST(Network, EvaluationChangesNothingAndTrainingMovesRunningAverages) {
  const auto owner_net = test::drawn(small_options("resnet-8"), 7);
  Network& net = *owner_net;
  const Tensor x = pixels(net.input(), 4, 3);
  const auto before = net.parameters().buffers().to_host<float>();
  const auto values = net.parameters().values().to_host<float>();
  static_cast<void>(std::as_const(net).forward(x));
  EXPECT_EQ(net.parameters().buffers().to_host<float>(), before);
  static_cast<void>(net.forward(x, TrainPass{}));
  EXPECT_NE(net.parameters().buffers().to_host<float>(), before);
  EXPECT_EQ(net.parameters().values().to_host<float>(), values);
}

TEST(Network, ATrunkInEvaluationModeKeepsItsRunningAverages) {
  const auto owner_net = test::drawn(small_options("vgg-16"), 7);
  Network& net = *owner_net;
  const Tensor x = pixels(net.input(), 4, 3);
  const auto before = net.parameters().buffers().to_host<float>();
  static_cast<void>(net.forward(x, TrainPass{.seed = 1, .state = nullptr, .trunk_in_eval_mode = true}));
  EXPECT_EQ(net.parameters().buffers().to_host<float>(), before);
}

TEST(Network, DropoutIsActiveOnlyInTrainingAndFollowsItsSeed) {
  const auto owner_net = test::drawn(small_options("wrn-32-4"), 7);
  Network& net = *owner_net;
  const Tensor x = pixels(net.input(), 2, 3);
  const auto last = [](const std::vector<Tensor>& logits) { return logits.back().to_host<float>(); };
  const auto first = last(net.forward(x, TrainPass{.seed = 1}));
  EXPECT_EQ(last(net.forward(x, TrainPass{.seed = 1})), first);
  EXPECT_NE(last(net.forward(x, TrainPass{.seed = 2})), first);
}

TEST(Network, MixedPrecisionKeepsLogitsFloatAndNearTheFloatNet) {
  for (const char* name : {"vgg-16", "resnet-8", "mobilenet", "mobilenet-v2", "wrn-32-4", "small-cnn"}) {
    SCOPED_TRACE(name);
    NetOptions o = small_options(name);
    const auto owner_exact = test::drawn(o, 7);
    Network& exact = *owner_exact;
    o.precision = Precision::kMixed;
    const auto owner_mixed = test::drawn(o, 7);
    Network& mixed = *owner_mixed;
    const Tensor x = pixels(exact.input(), 8, 3);
    // Batch statistics keep the activations at their size through all layers.
    const auto a = exact.forward(x, TrainPass{}), b = mixed.forward(x, TrainPass{});
    for (std::size_t e = 0; e < a.size(); ++e) {
      ASSERT_EQ(b[e].dtype(), DType::kFloat32);
      const auto want = a[e].to_host<float>(), got = b[e].to_host<float>();
      double error = 0, size = 0;
      for (std::size_t i = 0; i < want.size(); ++i) {
        error += std::pow(got[i] - want[i], 2);
        size += std::pow(want[i], 2);
      }
      EXPECT_TRUE(std::isfinite(error));
      // Up to exit 1 each of at most 16 layers rounds its output, and its weights, to 8 bits: relative error
      // about 2 * 2^-9 * sqrt(16) in norm, 8 as the margin. Later exits see it amplified by every batch norm.
      if (e == 0) {
        EXPECT_LT(std::sqrt(error / size), 8 * 2 * 0x1p-9 * std::sqrt(16.0));
      }
      EXPECT_GT(error, 0) << "exit " << e + 1;
    }
  }
}

TEST(Network, NormalisationIsTheFirstLayer) {
  NetOptions o = small_options("small-cnn");
  o.mean = {0.4f, 0.5f, 0.6f};
  o.std = {0.2f, 0.25f, 0.5f};
  const auto owner_net = test::drawn(o, 7);
  const Network& net = *owner_net;
  Tensor seen;
  const Tensor x = Tensor::full({1, 3, 32, 32}, 0.75f, Device::cpu());
  static_cast<void>(net.forward(x, [&](std::string_view name, const Tensor& y) {
    if (name == "normalize") seen = y;
  }));
  const auto y = seen.to_nchw();
  EXPECT_FLOAT_EQ(y[0], 1.75f);
  EXPECT_FLOAT_EQ(y[1024], 1.f);
  EXPECT_FLOAT_EQ(y[2048], 0.3f);
}

TEST(Network, WrongInputIsNamed) {
  const auto owner_net = test::drawn(small_options("small-cnn"), 7);
  const Network& net = *owner_net;
  EXPECT_EQ(message_of([&] {
              static_cast<void>(net.forward(Tensor::zeros({2, 1, 28, 28}, Device::cpu())));
            }),
            "net small-cnn: expected pixels [n,3,32,32], got [2,1,28,28]");
  EXPECT_EQ(message_of([&] { static_cast<void>(net.forward_segment(4, {})); }),
            "net small-cnn: segments are 0 to 3, got 4");
}

TEST(Initialize, EqualSeedsGiveEqualBits) {
  const auto values = [](std::uint64_t seed) {
    return test::drawn(small_options("resnet-8"), seed)->parameters().values().to_host<float>();
  };
  EXPECT_EQ(values(1), values(1));
  EXPECT_NE(values(1), values(2));
}

// specs: networks 4. The bounds are five standard errors of the estimates.
TEST(Initialize, WeightsHaveTheirDistribution) {
  struct Case {
    const char *net, *parameter;
    double deviation;  // of a normal, or bound of a uniform
    bool normal;
  };
  const Case cases[] = {
      {"vgg-16", "layers.7.layers.0.weight", std::sqrt(2.0 / (9 * 512)), true},
      {"vgg-16", "end_layers.0.weight", 0.01, true},
      {"vgg-16", "layers.3.output.linear.weight", 0.01, true},
      {"resnet-20", "layers.7.layers.0.0.weight", std::sqrt(2.0 / (9 * 64)), true},
      {"mobilenet", "layers.6.layers.3.weight", 1 / std::sqrt(512.0), false},
      {"mobilenet", "layers.11.layers.0.weight", 1 / std::sqrt(9.0), false},
      {"mobilenet", "end_layers.2.weight", 1 / std::sqrt(1024.0), false},
      {"mobilenet-v2", "layers.13.conv1.weight", 1 / std::sqrt(96.0), false},
      {"mobilenet-v2", "layers.13.conv2.weight", 1 / std::sqrt(9.0), false},
      {"wrn-32-4", "layers.12.layers.0.2.weight", std::sqrt(2.0) * std::sqrt(6.0 / (9 * 512)), false},
      {"wrn-32-4", "layers.3.output.linear.weight", 1 / std::sqrt(1024.0), false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.net) + " " + c.parameter);
    NetOptions o;
    o.name = c.net;
    const auto owner_net = test::drawn(o, 1);
    const Network& net = *owner_net;
    const auto* entry = net.parameters().find(c.parameter);
    ASSERT_NE(entry, nullptr);
    const std::vector<float> values = entry->value.to_host<float>();
    const auto n = static_cast<double>(values.size());
    double sum = 0, squares = 0, largest = 0;
    for (const double v : values) {
      sum += v;
      squares += v * v;
      largest = std::max(largest, std::abs(v));
    }
    const double deviation = c.normal ? c.deviation : c.deviation / std::sqrt(3.0);
    EXPECT_LT(std::abs(sum / n), 5 * deviation / std::sqrt(n));
    // Variance of v^2 is (kurtosis - 1) sigma^4: 2 for a normal, 0.8 for a uniform.
    const double spread = std::sqrt((c.normal ? 2.0 : 0.8) / n);
    EXPECT_LT(std::abs(squares / n / (deviation * deviation) - 1), 5 * spread);
    if (!c.normal) {
      EXPECT_LE(largest, c.deviation);
      EXPECT_GT(largest, 0.99 * c.deviation);
    }
  }
}

TEST(Initialize, BiasesAlphaAndNormsStartAsSpecified) {
  NetOptions o;
  o.name = "wrn-32-4";
  const auto owner_net = test::drawn(o, 1);
  const Network& net = *owner_net;
  const auto values = [&](const char* name) { return net.parameters().find(name)->value.to_host<float>(); };
  for (const float v : values("layers.0.layers.0.2.bias")) EXPECT_EQ(v, 0.f);
  for (const float v : values("layers.3.output.linear.bias")) EXPECT_EQ(v, 0.f);
  for (const float v : values("end_layers.0.weight")) EXPECT_EQ(v, 1.f);
  for (const float v : values("end_layers.0.running_var")) EXPECT_EQ(v, 1.f);
  const float alpha = values("layers.3.output.alpha")[0];
  EXPECT_GE(alpha, 0.f);
  EXPECT_LT(alpha, 1.f);
  EXPECT_NE(values("layers.7.output.alpha")[0], alpha);
  EXPECT_EQ(std::get<BatchNorm>(net.architecture().end.layers[0]).tensors.momentum, 0.9f);
}

}  // namespace
}  // namespace offramp::nets
