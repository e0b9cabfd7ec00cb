#include "engine/parameters.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/errors.h"
#include "engine/ops.h"
#include "engine/optimizer.h"
#include "tests/support/close.h"
#include "tests/support/random.h"

namespace offramp::test {
namespace {

TEST(ParameterSet, TrunkComesFirstThenTheExitsEachPaddedTo64Bytes) {
  ParameterSet set;
  const Tensor e2 = set.parameter({.name = "exit2", .exit = 2}, {5});
  const Tensor trunk = set.parameter({.name = "trunk"}, {17});
  const Tensor e1 = set.parameter({.name = "exit1", .exit = 1}, {3, 2});
  const Tensor mean = set.buffer({.name = "mean"}, {4});
  set.allocate(Device::cpu());
  EXPECT_EQ(set.find("trunk")->offset, 0);
  EXPECT_EQ(set.find("exit1")->offset, 32);
  EXPECT_EQ(set.find("exit2")->offset, 48);
  EXPECT_EQ(set.trunk_floats(), 32);
  EXPECT_EQ(set.values().size(), 64);
  EXPECT_EQ(set.count(), 5 + 17 + 6);
  EXPECT_EQ(e1.data(), std::as_const(set.values()).data() + 32);
  EXPECT_EQ(mean.raw(), set.buffers().raw());
  EXPECT_EQ(set.targets().size(), 3u);
  EXPECT_EQ(set.exit_targets().size(), 2u);
  EXPECT_EQ(e2.size() + trunk.size(), 22);
}

TEST(ParameterSet, GradientsArriveInTheFlatBuffer) {
  ParameterSet set;
  Tensor w = set.parameter({.name = "w"}, {2, 3});
  const Tensor unused = set.parameter({.name = "unused"}, {2});
  set.allocate(Device::cpu());
  w.data()[0] = 1;
  const Tensor x = Tensor::full({1, 3}, 2.f, Device::cpu());
  Recording rec(set.targets());
  rec.grad(sum(linear(x, w, {})));
  const auto flat = set.gradients().to_host<float>();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(flat[static_cast<std::size_t>(i)], 2.f);
  for (std::size_t i = 6; i < flat.size(); ++i) EXPECT_EQ(flat[i], 0.f);
}

TEST(ParameterSet, RefusesASecondUseOfANameAndLateDeclarations) {
  ParameterSet set;
  set.parameter({.name = "w"}, {2});
  EXPECT_THROW(set.buffer({.name = "w"}, {2}), ValueError);
  set.allocate(Device::cpu());
  EXPECT_THROW(set.parameter({.name = "late"}, {2}), ValueError);
  EXPECT_EQ(set.find("nobody"), nullptr);
}

TEST(DiskOrder, ConvolutionsAndFlattenedLinearsArePermuted) {
  // K=1, C=2, R=1, S=3: memory r,s,c -> disk c,r,s.
  const ParameterInfo conv{.name = "conv", .layout = DiskLayout::kConv};
  EXPECT_EQ(to_disk_order(conv, {1, 2, 1, 3}, {0, 10, 1, 11, 2, 12}),
            (std::vector<float>{0, 1, 2, 10, 11, 12}));
  // 2 outputs, 2 channels of 1x2: memory columns (w, c) -> disk columns (c, w).
  const ParameterInfo lin{.name = "l", .layout = DiskLayout::kLinearFlatten, .flatten_h = 1, .flatten_w = 2};
  EXPECT_EQ(to_disk_order(lin, {2, 4}, {0, 10, 1, 11, 2, 12, 3, 13}),
            (std::vector<float>{0, 1, 10, 11, 2, 3, 12, 13}));
}

TEST(DiskOrder, ThereAndBackIsTheSame) {
  const std::vector<float> values = random_vector<float>(4 * 3 * 2 * 5, 9);
  const ParameterInfo conv{.name = "conv", .layout = DiskLayout::kConv};
  EXPECT_SAME_BITS(to_memory_order(conv, {4, 3, 2, 5}, to_disk_order(conv, {4, 3, 2, 5}, values)), values);
  const ParameterInfo lin{.name = "l", .layout = DiskLayout::kLinearFlatten, .flatten_h = 2, .flatten_w = 5};
  EXPECT_SAME_BITS(to_memory_order(lin, {4, 30}, to_disk_order(lin, {4, 30}, values)), values);
}

TEST(Optimizer, TheExitsAloneLeaveTheTrunkUntouched) {
  ParameterSet set;
  Tensor trunk = set.parameter({.name = "trunk"}, {2});
  Tensor exit = set.parameter({.name = "exit", .exit = 1}, {2});
  set.allocate(Device::cpu());
  const Tensor ones = Tensor::full({set.values().size()}, 1.f, Device::cpu());
  Device::cpu().copy(set.values().raw(), ones.raw(), ones.bytes());
  Device::cpu().copy(set.gradients().raw(), ones.raw(), ones.bytes());
  StepScalars state(Device::cpu());
  state.set(.5f, 0, 1);
  const auto sgd = make_sgd(set, {.momentum = 0}, ParameterRange::kExits);
  sgd->step(state);
  EXPECT_EQ(trunk.to_host<float>(), (std::vector<float>{1, 1}));
  EXPECT_EQ(exit.to_host<float>(), (std::vector<float>{.5f, .5f}));
}

TEST(Optimizer, ANonFiniteLossChangesNothing) {
  ParameterSet set;
  Tensor w = set.parameter({.name = "w"}, {1, 2});
  set.allocate(Device::cpu());
  StepScalars state(Device::cpu());
  state.set(.5f, 0, 1);
  EXPECT_FALSE(state.nonfinite());
  const float inf = INFINITY;
  const Tensor x = Tensor::from<float>({1, 2}, std::vector<float>{inf, 1.f}, Device::cpu());
  w.data()[0] = 1;
  const auto before = set.values().to_host<float>();
  const auto adam = make_adam(set, {});
  Recording rec(set.targets());
  const Tensor logits[] = {linear(x, w, {})};
  MultiExitTargets t;
  t.labels = Tensor::from<std::int32_t>({1}, std::vector<std::int32_t>{0}, Device::cpu());
  t.exit_weight = Tensor::full({1}, 1.f, Device::cpu());
  t.state = state.device_pointer();
  rec.grad(multi_exit_loss(logits, t).loss);
  EXPECT_TRUE(state.nonfinite());
  adam->step(state);
  EXPECT_SAME_BITS(set.values().to_host<float>(), before);
  for (const auto& moment : adam->moments()) {
    for (const float v : moment.values.to_host<float>()) EXPECT_EQ(v, 0.f);
  }
}

}  // namespace
}  // namespace offramp::test
