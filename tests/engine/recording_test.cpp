#include "engine/recording.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "engine/ops.h"
#include "tests/support/close.h"

namespace offramp::test {
namespace {

Tensor vec(std::initializer_list<float> values) {
  return Tensor::from<float>(
      {static_cast<std::int64_t>(values.size())}, std::span(values.begin(), values.size()), Device::cpu());
}

TEST(Recording, ReturnsTheGradientsOfItsTargets) {
  const Tensor x = vec({1, 2, 3}), y = vec({4, 5, 6});
  Recording rec({x, y});
  const GradMap g = rec.grad(sum(multiply(x, y)));
  EXPECT_EQ(g[x].to_host<float>(), (std::vector<float>{4, 5, 6}));
  EXPECT_EQ(g[y].to_host<float>(), (std::vector<float>{1, 2, 3}));
}

TEST(Recording, ATargetThatTheLossIgnoresGetsZeros) {
  const Tensor x = vec({1, 2}), unused = vec({3, 4, 5});
  Recording rec({x, unused});
  const GradMap g = rec.grad(sum(x));
  EXPECT_EQ(g[unused].to_host<float>(), (std::vector<float>{0, 0, 0}));
}

TEST(Recording, SharedGradientsAreCopiedBeforeTheyGrow) {
  // add hands the same dy to both inputs; b gets more from the product. a must not see it.
  const Tensor a = vec({1, 2}), b = vec({3, 4});
  Recording rec({a, b});
  const Tensor s = add(a, b), p = multiply(b, b);
  const GradMap g = rec.grad(sum(add(p, s)));
  EXPECT_EQ(g[a].to_host<float>(), (std::vector<float>{1, 1}));
  EXPECT_EQ(g[b].to_host<float>(), (std::vector<float>{7, 9}));
}

TEST(Recording, AnInnerRecordingHidesTheOuterAndGivesItsTargetsBack) {
  const Tensor x = vec({2, 3});
  Recording outer({x});
  const Tensor before = multiply(x, x);
  {
    Recording inner({x});
    const GradMap g = inner.grad(sum(scale(x, 5)));
    EXPECT_EQ(g[x].to_host<float>(), (std::vector<float>{5, 5}));
  }
  const GradMap g = outer.grad(sum(add(before, x)));
  EXPECT_EQ(g[x].to_host<float>(), (std::vector<float>{5, 7}));
}

TEST(Recording, WritesIntoTheCallersMemory) {
  const Tensor x = vec({1, 2}), memory = vec({100, 100});
  const Target targets[] = {{x, memory}};
  Recording rec(targets);
  rec.grad(sum(add(multiply(x, x), x)));
  EXPECT_EQ(memory.to_host<float>(), (std::vector<float>{3, 5}));
}

TEST(Recording, ClearsTheCallersMemoryWhenNothingArrives) {
  const Tensor x = vec({1, 2}), y = vec({1}), memory = vec({100, 100});
  const Target targets[] = {{x, memory}};
  Recording rec(targets, {y});
  rec.grad(sum(y));
  EXPECT_EQ(memory.to_host<float>(), (std::vector<float>{0, 0}));
}

TEST(Recording, FlattenedAndPlainUsesOfOneTensorAddUp) {
  const Tensor x = Tensor::full({1, 2, 1, 1}, 3.f, Device::cpu());
  Recording rec({x});
  const GradMap g = rec.grad(add(sum(flatten(x)), sum(multiply(x, x))));
  EXPECT_EQ(g[x].to_host<float>(), (std::vector<float>{7, 7}));
  EXPECT_EQ(g[x].shape(), x.shape());
}

TEST(Recording, NoticesWhenASavedTensorWasWritten) {
  Tensor x = vec({1, 2});
  const Tensor y = vec({1, 1});
  Recording rec({y});
  const Tensor loss = sum(multiply(x, y));
  x.data()[0] = 9;
  EXPECT_THROW(rec.grad(loss), std::logic_error);
}

TEST(Recording, AConversionConvertsItsGradientBack) {
  const Tensor x = vec({1, 2, 3}), w = vec({.5f, -2, 8});  // all exact in bfloat16
  Recording rec({x});
  const Tensor y = convert(convert(x, DType::kBFloat16), DType::kFloat32);
  const GradMap g = rec.grad(sum(multiply(y, w)));
  EXPECT_EQ(g[x].to_host<float>(), w.to_host<float>());
  EXPECT_EQ(convert(x, DType::kFloat32).identity(), x.identity());
}

TEST(Recording, MemoryOfTheTapeIsGivenBack) {
  const Device device = Device::make_cpu({.threads = 1}, 1u << 20);
  const Tensor x = Tensor::full({1000}, 1.f, device);
  const auto live = device.memory().live_bytes;
  for (int i = 0; i < 200; ++i) {  // 200 * 12 kB would not fit without release
    Recording rec({x});
    rec.grad(sum(multiply(scale(x, 2), x)));
  }
  EXPECT_EQ(device.memory().live_bytes, live);
}

TEST(Recording, SaysWhatIsWrong) {
  const Tensor x = vec({1, 2}), stranger = vec({1});
  EXPECT_THROW(Recording({Tensor()}), ValueError);
  EXPECT_THROW(Recording({x, x}), ValueError);
  Recording rec({x});
  EXPECT_THROW(rec.grad(stranger), ValueError);
  EXPECT_THROW(rec.grad(scale(x, 2)), ShapeError);
  const Tensor loss = sum(x);
  const GradMap g = rec.grad(loss);
  EXPECT_THROW(g[stranger], ValueError);
  EXPECT_THROW(rec.grad(loss), ValueError);  // gradients are given once
}

TEST(Saved, AnEmptyTensorStaysEmpty) { EXPECT_FALSE(Saved(Tensor())); }

}  // namespace
}  // namespace offramp::test
