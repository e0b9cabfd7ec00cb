// Several requests in one net at once: the answers of each alone, bit for bit, in whatever company; who waits for whom.
#include "nets/exits/in_flight.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <random>

#include "engine/ops.h"
#include "nets/exits/frozen.h"
#include "tests/nets/nets.h"

namespace offramp::nets {
namespace {

using namespace std::chrono_literals;
using test::drawn;
using test::pixels;
using test::small_options;
using TimePoint = InFlight::TimePoint;

constexpr TimePoint kStart{1h};

// About a third of the images leaves at each exit.
ExitPolicy leaving_policy(const FrozenNet& net, const Tensor& x) {
  ExitPolicy policy;
  const std::vector<Tensor> logits = net.forward(x);
  for (std::size_t e = 0; e + 1 < logits.size(); ++e) {
    std::vector<float> c = confidence(logits[e]).to_host<float>();
    std::sort(c.begin(), c.end());
    policy.thresholds.push_back(static_cast<double>(c[c.size() * 2 / 3]));
  }
  return policy;
}

Tensor image_of(const Tensor& x, int first, int count = 1) {
  std::vector<std::int32_t> rows;
  for (int i = 0; i < count; ++i) rows.push_back(first + i);
  return gather_rows(x, Tensor::from<std::int32_t>({count}, rows, x.device()));
}

void expect_same(const EarlyExitResult& a, const EarlyExitResult& b) {
  EXPECT_EQ(a.label, b.label);
  EXPECT_EQ(a.exit, b.exit);
  EXPECT_EQ(a.answered, b.answered);
  EXPECT_EQ(a.confidence, b.confidence);
  EXPECT_EQ(a.probabilities, b.probabilities);
}

// Requests of one to three images of every family's net, entering at any time between steps.
TEST(InFlight, AnswersAreThoseOfEachAloneInAnyCompany) {
  for (const char* name : test::kFamilies) {
    const auto plain = drawn(small_options(name), 7);
    const FrozenNet net(*plain);
    const Tensor x = pixels(plain->input(), 24, 5);
    ExitPolicy policy = leaving_policy(net, x);
    for (const Fallback fallback : {Fallback::kLast, Fallback::kMostConfident}) {
      policy.fallback = fallback;
      for (const int most : {3, 16}) {
        SCOPED_TRACE(std::string(name) + " " + to_text(fallback) + " " + std::to_string(most));
        std::mt19937 random(static_cast<unsigned>(most));
        InFlight together(net, policy, most, 10us);
        std::vector<std::unique_ptr<Asked>> asked;
        std::vector<EarlyExitResult> alone;
        std::size_t answered = 0;
        int first = 0;
        TimePoint now = kStart;
        while (first < 24 || !together.empty()) {
          now += std::chrono::microseconds(random() % 8);
          if (first < 24 && random() % 2 == 0) {
            const int count = std::min<int>(1 + static_cast<int>(random() % 3), 24 - first);
            asked.push_back(std::make_unique<Asked>());
            asked.back()->x = {image_of(x, first, count)};
            alone.push_back(infer(net, policy, asked.back()->x));
            together.enter(*asked.back(), now);
            first += count;
          }
          if (const auto segment = together.next(now)) {
            for (const Asked* done : together.run(*segment, now)) {
              ++answered;
              const auto at = static_cast<std::size_t>(
                  std::find_if(asked.begin(), asked.end(), [&](const auto& a) { return a.get() == done; }) -
                  asked.begin());
              expect_same(done->result, alone.at(at));
            }
          }
        }
        EXPECT_EQ(answered, asked.size());
      }
    }
  }
}

// A net that counts: two features a sample, (id, depth at which it is sure), three segments.
class Counting final : public SegmentedNet {
 public:
  int num_exits() const override { return 3; }
  int classes() const override { return 2; }
  const std::vector<Extent>& inputs() const override { return inputs_; }
  Segment forward_segment(int segment, const Features& x) const override {
    if (fails) throw NumericError("as told");
    const std::vector<float> values = x[0].to_host<float>();
    std::vector<float> logits;
    std::vector<int> ids;
    for (std::size_t i = 0; i < values.size(); i += 2) {
      ids.push_back(static_cast<int>(values[i]));
      const bool sure = static_cast<int>(values[i + 1]) == segment;
      logits.insert(logits.end(), {sure ? 9.f : 0.f, 0.f});
    }
    ran.emplace_back(segment, ids);
    return {segment < 2 ? x : Features{},
            Tensor::from<float>({static_cast<std::int64_t>(ids.size()), 2}, logits, x[0].device())};
  }
  mutable std::vector<std::pair<int, std::vector<int>>> ran;  // segment, who
  bool fails = false;

 private:
  std::vector<Extent> inputs_ = {{.c = 2, .h = 1, .w = 1}};
};

Asked asked_of(int id, int depth) {
  const std::vector<float> values = {static_cast<float>(id), static_cast<float>(depth)};
  Asked asked;
  asked.x = {Tensor::from<float>({1, 2}, values, Device::cpu())};
  return asked;
}

using Ran = std::vector<std::pair<int, std::vector<int>>>;

TEST(InFlight, TheFirstWaitsForCompanyAndNoLonger) {
  const Counting net;
  InFlight together(net, ExitPolicy::uniform(3, 0.9), 3, 100us);
  Asked a = asked_of(1, 0), b = asked_of(2, 1), c = asked_of(3, 2);
  together.enter(a, kStart);
  EXPECT_EQ(together.next(kStart + 99us), std::nullopt);
  EXPECT_EQ(together.due(), kStart + 100us);
  EXPECT_EQ(together.next(kStart + 100us), 0);
  together.enter(b, kStart + 50us);
  EXPECT_EQ(together.next(kStart + 60us), std::nullopt);
  EXPECT_EQ(together.due(), kStart + 100us);
  together.enter(c, kStart + 60us);  // three are enough
  EXPECT_EQ(together.next(kStart + 60us), 0);
  EXPECT_EQ(together.due(), TimePoint::min());
  // Each leaves at his own exit, at once.
  EXPECT_EQ(together.run(0, kStart + 60us), std::vector<Asked*>{&a});
  EXPECT_EQ(together.next(kStart + 61us), 1);
  EXPECT_EQ(together.run(1, kStart + 61us), std::vector<Asked*>{&b});
  EXPECT_EQ(together.run(2, kStart + 62us), std::vector<Asked*>{&c});
  EXPECT_TRUE(together.empty());
  EXPECT_EQ(net.ran, (Ran{{0, {1, 2, 3}}, {1, {2, 3}}, {2, {3}}}));
  EXPECT_EQ(a.result.exit, std::vector<std::int32_t>{1});
  EXPECT_EQ(c.result.exit, std::vector<std::int32_t>{3});
}

TEST(InFlight, NewOnesCatchUpUnlessSomebodyAheadHasWaitedLongEnough) {
  const Counting net;
  InFlight together(net, ExitPolicy::uniform(3, 0.9), 4, 100us);
  Asked a = asked_of(1, 2), b = asked_of(2, 2), c = asked_of(3, 2);
  together.enter(a, kStart);
  EXPECT_EQ(together.run(0, kStart + 100us), std::vector<Asked*>{});
  together.enter(b, kStart + 150us);
  EXPECT_EQ(together.next(kStart + 150us), 0);  // b first: they go on as one
  together.run(0, kStart + 160us);
  EXPECT_EQ(together.waiting_before(1), 2u);
  EXPECT_EQ(together.next(kStart + 160us), 1);
  together.run(1, kStart + 170us);
  together.enter(c, kStart + 260us);
  EXPECT_EQ(together.next(kStart + 269us), 0);
  EXPECT_EQ(together.next(kStart + 270us), 2);  // a and b have waited 100 us
  EXPECT_EQ(together.run(2, kStart + 270us), (std::vector<Asked*>{&a, &b}));
  EXPECT_EQ(net.ran, (Ran{{0, {1}}, {0, {2}}, {1, {1, 2}}, {2, {1, 2}}}));
}

TEST(InFlight, WithoutWaitingTheDeepestGoesFirst) {
  const Counting net;
  InFlight together(net, ExitPolicy::uniform(3, 0.9), 2, 0us);
  std::vector<Asked> all;
  for (int i = 0; i < 5; ++i) all.push_back(asked_of(i, i % 2 == 0 ? 0 : 2));
  for (Asked& one : all) together.enter(one, kStart);
  while (const auto segment = together.next(kStart)) together.run(*segment, kStart);
  EXPECT_TRUE(together.empty());
  EXPECT_EQ(net.ran, (Ran{{0, {0, 1}}, {1, {1}}, {2, {1}}, {0, {2, 3}}, {1, {3}}, {2, {3}}, {0, {4}}}));
}

TEST(InFlight, AfterAFailureNobodyIsLost) {
  Counting net;
  InFlight together(net, ExitPolicy::uniform(3, 0.9), 2, 0us);
  Asked a = asked_of(1, 2), b = asked_of(2, 0);
  together.enter(a, kStart);
  together.run(0, kStart);
  together.enter(b, kStart);
  net.fails = true;
  EXPECT_THROW(together.run(1, kStart), NumericError);
  EXPECT_EQ(together.waiting_before(1), 1u);
  net.fails = false;
  EXPECT_EQ(together.abandon(), (std::vector<Asked*>{&b, &a}));
  EXPECT_TRUE(together.empty());
  EXPECT_EQ(together.next(kStart), std::nullopt);
}

TEST(InFlight, WrongUseIsNamed) {
  const Counting net;
  EXPECT_THROW(InFlight(net, ExitPolicy::uniform(2, 0.9), 2, 0us), ValueError);
  EXPECT_THROW(InFlight(net, ExitPolicy::uniform(3, 0.9), 0, 0us), ValueError);
  EXPECT_THROW(InFlight(net, ExitPolicy::uniform(3, 0.9), 1, -1us), ValueError);
  InFlight together(net, ExitPolicy::uniform(3, 0.9), 1, 0us);
  Asked none;
  EXPECT_THROW(together.enter(none, kStart), ShapeError);
}

// An image that the net has no number for ends its own request, and neither its neighbours in the batch nor the queue.
TEST(InFlight, AnImageWithoutAnAnswerIsNobodyElsesMatter) {
  const auto plain = drawn(small_options("fcn-18-1"), 7);
  const FrozenNet net(*plain);
  const Tensor x = pixels(plain->input(), 5, 5);
  std::vector<float> values = x.to_host<float>();
  const std::size_t width = values.size() / 5;
  values[2 * width] = std::numeric_limits<float>::quiet_NaN();
  const Tensor spoilt = Tensor::from<float>(x.shape(), values, Device::cpu());
  ExitPolicy policy;
  policy.thresholds.assign(static_cast<std::size_t>(net.num_exits() - 1), 1.0);
  InFlight together(net, policy, 8, 10us);
  Asked first, second, third;
  first.x = {image_of(spoilt, 0)};
  second.x = {image_of(spoilt, 1, 3)};  // the second of them is the spoilt one
  third.x = {image_of(spoilt, 4)};
  for (Asked* one : {&first, &second, &third}) together.enter(*one, kStart);
  std::vector<Asked*> done;
  for (TimePoint now = kStart; !together.empty(); now += 20us)
    if (const auto segment = together.next(now))
      for (Asked* one : together.run(*segment, now)) done.push_back(one);
  EXPECT_EQ(done.size(), 3u);
  EXPECT_FALSE(first.failed);
  EXPECT_FALSE(third.failed);
  ASSERT_TRUE(second.failed);
  EXPECT_THROW(std::rethrow_exception(second.failed), NumericError);
  expect_same(first.result, infer(net, policy, {image_of(x, 0)}));
  expect_same(third.result, infer(net, policy, {image_of(x, 4)}));
}

}  // namespace
}  // namespace offramp::nets
