#include "nets/exits/frozen.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/ops.h"
#include "engine/recording.h"
#include "kernels/linear.h"
#include "nets/exits/early_exit.h"
#include "tests/nets/nets.h"

namespace offramp::nets {
namespace {

using test::drawn;
using test::pixels;
using test::small_options;

// Running statistics and affine parameters as after training, not the start's 0 and 1.
void settle(Network& net) {
  for (int i = 0; i < 5; ++i) {
    static_cast<void>(net.forward(pixels(net.input(), 8, 100 + static_cast<std::uint64_t>(i)), TrainPass{}));
  }
  std::uint64_t seed = 0;
  for_each_layer(net.architecture(), [&](const Layer& layer, int) {
    if (const auto* norm = std::get_if<BatchNorm>(&layer)) {
      Tensor gamma = norm->tensors.gamma, beta = norm->tensors.beta;
      const PhiloxKey key{++seed, 78, 0, 0};
      for (int c = 0; c < norm->channels; ++c) {
        gamma.data()[c] = 0.5f + key.uniform(static_cast<std::uint64_t>(2 * c));
        beta.data()[c] = key.uniform(static_cast<std::uint64_t>(2 * c + 1)) - 0.5f;
      }
    }
  });
}

double relative_error(const Tensor& got, const Tensor& want) {
  const auto a = got.to_host<float>(), b = want.to_host<float>();
  double error = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(error / size);
}

TEST(FrozenNet, GivesTheLogitsOfTheNet) {
  for (const char* name : test::kFamilies) {
    for (const ExitForm form : {ExitForm::kLinear, ExitForm::kTwoLayer}) {
      SCOPED_TRACE(name);
      NetOptions o = small_options(name);
      if (form == ExitForm::kTwoLayer && o.name.starts_with("msdnet")) continue;  // made with its exits
      o.form = form;
      const auto net = drawn(o, 7);
      settle(*net);
      const FrozenNet frozen(*net);
      const Tensor x = pixels(net->input(), 5, 3);
      const auto want = std::as_const(*net).forward(x), got = frozen.forward(x);
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t e = 0; e < want.size(); ++e) {
        // Folding rounds every weight once more: 2^-24 relative, a random walk over at most 64 layers, and
        // the sums of either side; 64 as the margin for what batch norms amplify.
        EXPECT_LT(relative_error(got[e], want[e]), 64 * 0x1p-24 * std::sqrt(64.0)) << "exit " << e + 1;
      }
    }
  }
}

// Gradients of the input through every exit, with weights packed for the way back, are those of the net; a sample's have the
// same bits in any company.
TEST(FrozenNet, GivesTheInputGradientsOfTheNet) {
  for (const char* name : test::kFamilies) {
    SCOPED_TRACE(name);
    const auto net = drawn(small_options(name), 7);
    settle(*net);
    const FrozenNet frozen(*net, FrozenFor::kGradients);
    const auto gradient = [&](const SegmentedNet& of, const Tensor& x) {
      Recording recording({x});
      std::vector<Tensor> logits;
      Features features = {x};
      for (int s = 0; s < of.num_exits(); ++s) {
        Segment segment = of.forward_segment(s, features);
        features = std::move(segment.features);
        logits.push_back(segment.logits);
      }
      const Tensor y = logits.size() == 1 ? logits[0] : concat_channels(logits);
      std::vector<float> cotangent;  // a sample's depends on its place in the row alone
      const PhiloxKey key{5, 79, 0, 0};
      const auto width = static_cast<std::size_t>(y.size() / x.shape().n());
      for (std::size_t i = 0; i < static_cast<std::size_t>(y.size()); ++i)
        cotangent.push_back(key.uniform(i % width) - 0.5f);
      return recording.grad(y, Tensor::from<float>(y.shape(), cotangent, x.device()))[x].clone();
    };
    const Tensor x = pixels(net->input(), 5, 3);
    const Tensor got = gradient(frozen, x);
    // As for the logits, both ways through the net; masks of ReLUs and pools whose choice is a matter of rounding were not met.
    EXPECT_LT(relative_error(got, gradient(*net, x)), 128 * 0x1p-24 * std::sqrt(128.0));
    const Tensor second =
        gather_rows(x, Tensor::from<std::int32_t>({1}, std::vector<std::int32_t>{1}, x.device()));
    const auto alone = gradient(frozen, second).to_host<float>(), all = got.to_host<float>();
    const auto size = static_cast<std::ptrdiff_t>(alone.size());
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), all.begin() + size));
    // Frozen for answers nothing is recorded.
    const FrozenNet answers(*net);
    Recording recording({x});
    EXPECT_FALSE(recording.wants(answers.forward_segment(0, {x}).logits));
  }
}

// A convolution of every form and its residual: the adjoint against the tape's own, where it stores and where it adds.
TEST(FrozenNet, AdjointsOfConvolutionsAreThoseOfTheTape) {
  const Device device = Device::cpu();
  const std::vector<Conv2dGeom> forms = {
      {.n = 1, .h = 6, .w = 5, .c = 3, .k = 4, .r = 3, .s = 3, .stride = 1, .pad = 1},
      {.n = 1, .h = 9, .w = 7, .c = 18, .k = 17, .r = 3, .s = 3, .stride = 1, .pad = 1},
      {.n = 1, .h = 7, .w = 6, .c = 5, .k = 3, .r = 3, .s = 3, .stride = 2, .pad = 1},
      {.n = 1, .h = 4, .w = 5, .c = 19, .k = 33, .r = 1, .s = 1, .stride = 1, .pad = 0},
      {.n = 1, .h = 6, .w = 6, .c = 20, .k = 20, .r = 3, .s = 3, .stride = 1, .pad = 1, .groups = 20},
      {.n = 1, .h = 6, .w = 6, .c = 20, .k = 20, .r = 3, .s = 3, .stride = 2, .pad = 1, .groups = 20},
      {.n = 1, .h = 6, .w = 6, .c = 4, .k = 6, .r = 3, .s = 3, .stride = 1, .pad = 0, .groups = 2}};
  for (const Conv2dGeom& g : forms) {
    SCOPED_TRACE(std::to_string(g.c) + " to " + std::to_string(g.k) + ", stride " + std::to_string(g.stride));
    const auto values = [&](std::int64_t count, std::uint32_t stream) {
      std::vector<float> v(static_cast<std::size_t>(count));
      const PhiloxKey key{9, stream, 0, 0};
      for (std::size_t i = 0; i < v.size(); ++i) v[i] = key.uniform(i) - 0.5f;
      return v;
    };
    const FoldedConv folded{values(g.w_size(), 1), values(g.k, 2)};
    const FrozenStep step = frozen_conv<float>(device, g, folded, true, FrozenFor::kGradients);
    Tensor w = Tensor::empty({g.k, g.group_c(), g.r, g.s}, device);
    device.upload(w.raw(), folded.weight.data(), w.bytes());
    const Tensor b = Tensor::from<float>({g.k}, folded.bias, device);
    const Shape in{2, g.c, g.h, g.w}, out{2, g.k, g.out_h(), g.out_w()};
    const Tensor x = Tensor::from<float>(in, values(in.size(), 3), device);
    const Tensor r = Tensor::from<float>(out, values(out.size(), 4), device);
    const Tensor u = Tensor::from<float>(out, values(out.size(), 5), device);
    // Twice from one x: the second gradient is added to the first.
    const auto gradients = [&](const auto& f) {
      Recording recording({x, r});
      const Tensor y = add(f(), f());
      const GradMap map = recording.grad(y, u);
      return std::pair(map[x].clone(), map[r].clone());
    };
    const auto got = gradients([&] { return step(x, r); });
    const auto want = gradients([&] { return relu(add(conv2d(x, w, b, {g.stride, g.pad, g.groups}), r)); });
    EXPECT_LT(relative_error(got.first, want.first), 64 * 0x1p-24 * std::sqrt(g.k * g.r * g.s));
    EXPECT_EQ(got.second.to_host<float>(), want.second.to_host<float>());
  }
}

// What the last layer of an exit was given, times its weights, is the exit's answer.
TEST(FrozenNet, TellsWhatTheLastLayerWasGiven) {
  for (const char* name : test::kFamilies) {
    SCOPED_TRACE(name);
    const auto net = drawn(small_options(name), 7);
    const FrozenNet frozen(*net);
    const Architecture& arch = net->architecture();
    Features features = {pixels(net->input(), 3, 3)};
    for (int s = 0; s < frozen.num_exits(); ++s) {
      Tensor last_input;
      Segment segment = frozen.forward_segment(s, features, last_input);
      features = std::move(segment.features);
      const bool end = s + 1 == frozen.num_exits();
      const auto& layers = end ? arch.end.layers : arch.exits[static_cast<std::size_t>(s)].path.layers;
      const auto& last = std::get<Linear>(layers.back());
      EXPECT_EQ(linear(convert(last_input, DType::kFloat32), last.weight, last.bias).to_host<float>(),
                segment.logits.to_host<float>());
    }
  }
}

TEST(FrozenNet, MixedPrecisionStaysNearTheFloatNet) {
  for (const char* name : {"vgg-16", "resnet-8", "mobilenet-v2", "wrn-32-4"}) {
    SCOPED_TRACE(name);
    NetOptions o = small_options(name);
    const auto exact = drawn(o, 7);
    settle(*exact);
    o.precision = Precision::kMixed;
    const auto mixed = drawn(o, 7);
    const auto values = exact->parameters().values().to_host<float>();
    const auto buffers = exact->parameters().buffers().to_host<float>();
    Device::cpu().upload(mixed->parameters().values().raw(), values.data(), values.size() * sizeof(float));
    Tensor statistics = mixed->parameters().buffers();
    Device::cpu().upload(statistics.raw(), buffers.data(), buffers.size() * sizeof(float));
    const Tensor x = pixels(exact->input(), 5, 3);
    const Tensor want = std::as_const(*exact).forward(x)[0], got = FrozenNet(*mixed).forward(x)[0];
    // Exit 1 lies behind at most 16 roundings to 8 bits of outputs and of weights; 8 as the margin.
    EXPECT_LT(relative_error(got, want), 8 * 2 * 0x1p-9 * std::sqrt(16.0));
    EXPECT_GT(relative_error(got, want), 0);
  }
}

TEST(FrozenNet, KeepsItsValuesWhenTheNetChanges) {
  const auto net = drawn(small_options("resnet-8"), 7);
  const FrozenNet frozen(*net);
  const Tensor x = pixels(net->input(), 2, 3);
  const auto before = frozen.forward(x).back().to_host<float>();
  initialize(*net, 8);
  EXPECT_EQ(frozen.forward(x).back().to_host<float>(), before);
}

TEST(FrozenNet, ASampleGivesTheSameBitsInEveryBatch) {
  for (const char* name : test::kFamilies) {
    SCOPED_TRACE(name);
    const auto net = drawn(small_options(name), 7);
    settle(*net);
    const FrozenNet frozen(*net);
    const Tensor x = pixels(net->input(), 6, 11);
    const auto whole = frozen.forward(x);
    const std::vector<std::int32_t> rows = {4};
    const Tensor index = Tensor::from<std::int32_t>({1}, rows, Device::cpu());
    const auto alone = frozen.forward(gather_rows(x, index));
    for (std::size_t e = 0; e < whole.size(); ++e) {
      EXPECT_EQ(alone[e].to_host<float>(), gather_rows(whole[e], index).to_host<float>()) << "exit " << e + 1;
    }
  }
}

// Linear layers of many outputs are packed once: as the net itself to the bit, alone and in company, and not for gradients.
TEST(FrozenNet, WideLinearLayersHaveTheBitsOfTheNet) {
  NetOptions o = small_options("fcn-18-1");
  o.width_divisor = 4;
  const auto net = drawn(o, 7);
  settle(*net);
  int wide = 0;
  for_each_layer(net->architecture(), [&](const Layer& layer, int) {
    const auto* linear = std::get_if<Linear>(&layer);
    wide += linear && linear->out > kUnpackedOutputs;
  });
  ASSERT_GE(wide, 6);
  for (const FrozenFor use : {FrozenFor::kAnswers, FrozenFor::kGradients}) {
    const FrozenNet frozen(*net, use);
    for (const int n : {1, 13, 200}) {
      SCOPED_TRACE(n);
      const Tensor x = pixels(net->input(), n, 3);
      const auto want = std::as_const(*net).forward(x), got = frozen.forward(x);
      for (std::size_t e = 0; e < want.size(); ++e)
        EXPECT_EQ(got[e].to_host<float>(), want[e].to_host<float>()) << "exit " << e + 1;
    }
  }
}

TEST(FrozenNet, EarlyExitTakesTheSameExitsAwayFromTheThresholds) {
  const auto net = drawn(small_options("resnet-8"), 7);
  settle(*net);
  const Tensor x = pixels(net->input(), 16, 5);
  ExitPolicy policy;
  for (std::size_t e = 0; e < 2; ++e) {
    std::vector<float> c = confidence(std::as_const(*net).forward(x)[e]).to_host<float>();
    std::sort(c.begin(), c.end());
    policy.thresholds.push_back((static_cast<double>(c[8]) + static_cast<double>(c[9])) / 2);
  }
  const EarlyExitResult want = infer(*net, policy, x), got = infer(FrozenNet(*net), policy, x);
  EXPECT_EQ(got.exit, want.exit);
  EXPECT_EQ(got.label, want.label);
}

}  // namespace
}  // namespace offramp::nets
