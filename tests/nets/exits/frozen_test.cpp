#include "nets/exits/frozen.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

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
