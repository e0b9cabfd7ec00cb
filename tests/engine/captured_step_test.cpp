// Steps that are recorded and replayed; values that come back later.
#include "engine/captured_step.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "engine/ops.h"
#include "engine/readback.h"
#include "tests/engine/devices.h"
#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/memory.h"
#endif

namespace offramp {
namespace {

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(CapturedStep, WantsACudaDevice) {
  EXPECT_EQ(message_of([] { CapturedStep step(Device::cpu()); }),
            "captured step: expected a cuda device, got cpu");
}

TEST(Readback, BringsTheValuesOfTheMomentItWasStarted) {
  for (const std::string& name : test::device_names()) {
    if (!test::device_missing(name).empty()) continue;
    SCOPED_TRACE(name);
    const Device device = test::device_named(name);
    Readback readback(device);
    for (const int size : {3, 1000, 2}) {  // grows, and serves again
      Tensor a = Tensor::full({size}, 2.5f, device);
      const Tensor b = Tensor::from<std::int32_t>({2}, std::vector<std::int32_t>{7, -8}, device);
      readback.start(std::vector{a, b});
      device.set_zero(a.raw(), a.bytes());  // after the copy
      readback.wait();
      EXPECT_EQ(readback.values<float>(0).size(), static_cast<std::size_t>(size));
      EXPECT_EQ(readback.values<float>(0).back(), 2.5f);
      EXPECT_EQ(readback.values<std::int32_t>(1)[1], -8);
    }
  }
}

#if OFFRAMP_HAS_CUDA

class CudaCapturedStep : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = test::device_missing("cuda"); !why.empty()) GTEST_SKIP() << why;
  }
  // Without a device the fixture is made all the same, and skipped.
  const Device device = test::device_missing("cuda").empty() ? Device::cuda() : Device::cpu();
};

TEST_F(CudaCapturedStep, RunsOnceRecordsOnceAndThenReplays) {
  Tensor x = Tensor::full({5}, 1.f, device), y;
  CapturedStep step(device);
  int calls = 0;
  const auto program = [&] {
    ++calls;
    y = {};
    const Tensor doubled = scale(x, 2.f);
    y = add(doubled, x);
  };
  for (const float value : {1.f, 2.f, 3.f, 4.f}) {
    const std::vector<float> values(5, value);
    device.upload(x.raw(), values.data(), x.bytes());
    step.run(program);
    EXPECT_EQ(y.to_host<float>(), std::vector<float>(5, 3 * value));
  }
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(step.recorded());
  EXPECT_EQ(step.operations(), 2u);
}

TEST_F(CudaCapturedStep, AReplayAllocatesNothing) {
  Tensor x = Tensor::full({700}, 1.f, device), y;
  CapturedStep step(device);
  const auto program = [&] {
    y = {};
    y = relu(scale(scale(x, 2.f), 3.f));
  };
  for (int i = 0; i < 2; ++i) step.run(program);
  const auto before = device.cuda_context().allocator().stats();
  for (int i = 0; i < 3; ++i) step.run(program);
  const auto after = device.cuda_context().allocator().stats();
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.runtime_allocations, before.runtime_allocations);
}

// What the step left in its pool is nobody else's: the graph writes there at every launch.
TEST_F(CudaCapturedStep, ItsMemoryIsItsOwn) {
  Tensor x = Tensor::full({300}, 1.f, device), y;
  CapturedStep step(device);
  const auto program = [&] {
    y = {};
    y = scale(scale(x, 2.f), 3.f);
  };
  for (int i = 0; i < 2; ++i) step.run(program);
  std::vector<Tensor> others;
  for (int i = 0; i < 8; ++i) others.push_back(Tensor::full({300}, 7.f, device));
  step.run(program);
  EXPECT_EQ(y.to_host<float>(), std::vector<float>(300, 6.f));
  for (const Tensor& other : others) EXPECT_EQ(other.to_host<float>(), std::vector<float>(300, 7.f));
}

// An eager pass has rounded the filters, then a replay writes to them: convolutions see what it wrote.
TEST_F(CudaCapturedStep, WhatItWritesIsRoundedAnew) {
  const auto filters = [&](float value) { return Tensor::full({16, 8, 3, 3}, value, device); };
  const Tensor x = convert(Tensor::full({1, 8, 4, 4}, 1.f, device), DType::kBFloat16), updated = filters(.5f);
  Tensor w = filters(2.f);
  const auto y = [&] { return conv2d(x, w, {}, {.pad = 1}).to_nchw(); };
  CapturedStep step(device);
  const auto update = [&] { device.copy(w.raw(), updated.raw(), w.bytes()); };
  for (int i = 0; i < 2; ++i) step.run(update);
  const std::vector<float> expected = y();
  const std::vector<float> other(static_cast<std::size_t>(w.size()), 2.f);
  device.upload(w.raw(), other.data(), w.bytes());
  device.cuda_context().round_parameters(w.size(), w.data());
  EXPECT_NE(y(), expected);
  step.run(update);
  EXPECT_EQ(y(), expected);
}

TEST_F(CudaCapturedStep, RefusesWhatAGraphCannotHold) {
  const Tensor x = Tensor::full({4}, 1.f, device);
  Tensor y;
  {
    CapturedStep step(device);  // keeps the last result while it makes a new one
    const auto program = [&] { y = scale(x, 2.f); };
    step.run(program);
    EXPECT_NE(message_of([&] { step.run(program); }).find("are asked for while a step is captured"),
              std::string::npos);
    y = {};
    step.run(program);  // the failure left it as it was
    EXPECT_TRUE(step.recorded());
    EXPECT_EQ(y.to_host<float>(), std::vector<float>(4, 2.f));
  }
  {
    CapturedStep step(device);
    const auto waits = [&] { static_cast<void>(scale(x, 2.f).to_host<float>()); };
    step.run(waits);
    EXPECT_THROW(step.run(waits), std::exception);
    EXPECT_FALSE(step.recorded());
  }
  {
    CapturedStep step(device);
    const auto uploads = [&] {
      static_cast<void>(Tensor::from<float>({1}, std::vector<float>{1.f}, device));
    };
    step.run(uploads);
    EXPECT_EQ(message_of([&] { step.run(uploads); }), "cuda: an upload while a step is captured");
  }
  EXPECT_EQ(scale(x, 3.f).to_host<float>(), std::vector<float>(4, 3.f)) << "the stream works on";
}

#endif

}  // namespace
}  // namespace offramp
