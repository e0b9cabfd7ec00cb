#include "attacks/query/in_process.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>

#include "attacks/query/cpu_pin.h"
#include "tests/attacks/fake_victim.h"
#include "tests/attacks/message.h"

namespace offramp::attacks {
namespace {

constexpr int kClasses = 3;

Tensor images(int n) {
  std::vector<std::int32_t> all;
  for (int i = 0; i < n; ++i) all.push_back(i);
  return test::numbered_images(n).load(all);
}

// Probability 0.8 for class (number % 3); remembers the batches it saw and the core it ran on.
struct Witness {
  std::vector<int> batches;
  std::vector<int> cores;
  void operator()(const Tensor& x, std::span<float> p) {
    batches.push_back(x.shape().n());
    cores.push_back(sched_getcpu());
    const auto numbers = test::numbers_of(x);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      for (int c = 0; c < kClasses; ++c)
        p[i * kClasses + static_cast<std::size_t>(c)] = numbers[i] % kClasses == c ? 0.8f : 0.1f;
  }
};

TEST(InProcessBlackBox, TimedQueriesAreOneImageEachInTheOrderGiven) {
  Witness witness;
  InProcessBlackBox box(std::ref(witness), kClasses, {.warm_up = 2});
  const Answer answer = box.query(images(7), Timing::kPerQuery);
  EXPECT_EQ(witness.batches, std::vector<int>(2 + 7, 1));
  EXPECT_EQ(answer.labels, (std::vector<std::int32_t>{0, 1, 2, 0, 1, 2, 0}));
  EXPECT_EQ(answer.probabilities.shape(), (Shape{7, kClasses}));
  ASSERT_EQ(answer.nanoseconds.size(), 7u);
  for (const auto ns : answer.nanoseconds) EXPECT_GE(ns, 0);
}

TEST(InProcessBlackBox, UntimedQueriesMayBeBatchedAndAnswerTheSame) {
  Witness witness;
  InProcessBlackBox box(std::ref(witness), kClasses, {.untimed_batch = 3});
  const Answer answer = box.query(images(7), Timing::kNone);
  EXPECT_EQ(witness.batches, (std::vector<int>{3, 3, 1}));
  EXPECT_TRUE(answer.nanoseconds.empty());
  EXPECT_EQ(answer.probabilities.to_host<float>(),
            box.query(images(7), Timing::kPerQuery).probabilities.to_host<float>());
}

TEST(InProcessBlackBox, TheThreadIsPinnedDuringTimedQueriesAndFreeAfterwards) {
  cpu_set_t before, after;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  Witness witness;
  InProcessBlackBox box(std::ref(witness), kClasses, {});
  box.query(images(5), Timing::kPerQuery);
  ASSERT_EQ(sched_getaffinity(0, sizeof after, &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
  for (const int core : witness.cores) EXPECT_EQ(core, witness.cores.front());
}

TEST(CpuPin, ThreadsStartedMeanwhileAreSetFreeToo) {
  cpu_set_t before, worker;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  std::promise<void> unpinned;
  std::thread thread;
  {
    const CpuPin pin;
    thread = std::thread([&] {
      unpinned.get_future().wait();
      sched_getaffinity(0, sizeof worker, &worker);
    });
  }
  unpinned.set_value();
  thread.join();
  EXPECT_TRUE(CPU_EQUAL(&before, &worker));
}

TEST(InProcessBlackBox, TheClockSeesWhatTheVictimSpends) {
  using namespace std::chrono_literals;
  InProcessBlackBox box(
      [](const Tensor& x, std::span<float> p) {
        if (test::numbers_of(x)[0] == 1) std::this_thread::sleep_for(5ms);
        for (float& v : p) v = 1.0f / kClasses;
      },
      kClasses,
      {.warm_up = 0});
  const Answer answer = box.query(images(2), Timing::kPerQuery);
  EXPECT_GE(answer.nanoseconds[1], 5'000'000);  // sleep_for never returns early
}

TEST(InProcessBlackBox, AVictimThatThrowsLeavesTheThreadUnpinned) {
  cpu_set_t before, after;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  InProcessBlackBox box([](const Tensor&, std::span<float>) { throw ShapeError("no"); }, kClasses);
  EXPECT_THROW(box.query(images(1), Timing::kPerQuery), ShapeError);
  ASSERT_EQ(sched_getaffinity(0, sizeof after, &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(InProcessBlackBox, WrongUseIsNamed) {
  EXPECT_EQ(test::message_of([] { InProcessBlackBox box(nullptr, kClasses); }),
            "InProcessBlackBox: needs a victim, at least 2 classes, warm_up >= 0, untimed_batch >= 1");
  Witness witness;
  InProcessBlackBox box(std::ref(witness), kClasses);
  EXPECT_EQ(test::message_of([&] {
              box.query(Tensor::zeros({2, 3, 4}, Device::cpu()), Timing::kNone);
            }),
            "query: images must be float32 [n,c,h,w], rows of features [n,d], got [2,3,4]");
  EXPECT_EQ(test::message_of([] { const CpuPin pin(CPU_SETSIZE + 5); }),
            "CpuPin: this thread may not run on core " + std::to_string(CPU_SETSIZE + 5));
}

}  // namespace
}  // namespace offramp::attacks
