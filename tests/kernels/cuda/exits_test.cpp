// Exit decisions on the device against a plain loop over the reference softmax.
#include "kernels/cuda/exits.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/ref/softmax.h"
#include "tests/support/close.h"
#include "tests/support/fenced.h"

namespace offramp::test {
namespace {

class CudaExits : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = CudaDevice::missing(); !why.empty()) GTEST_SKIP() << why;
  }
};

struct Case {
  int n, classes;
  float threshold;
  bool last;
};

void check(const Case& c, bool identity) {
  SCOPED_TRACE(::testing::Message() << "n " << c.n << " classes " << c.classes << " threshold " << c.threshold
                                    << " last " << c.last << " identity " << identity);
  const auto rows = static_cast<std::size_t>(c.n);
  const auto logits = random_vector(rows * static_cast<std::size_t>(c.classes), 3, -3.f, 3.f);
  const int samples = identity ? c.n : 2 * c.n + 1;
  std::vector<std::int32_t> sample(rows);
  for (std::size_t i = 0; i < rows; ++i) sample[i] = static_cast<std::int32_t>(identity ? i : 2 * i + 1);

  std::vector<double> expected_confidence(rows);
  std::vector<std::int32_t> expected_class(rows), expected_row, expected_next;
  ref::row_confidence(
      c.n, c.classes, to_double(logits).data(), expected_confidence.data(), expected_class.data());

  using Ints = Fenced<std::int32_t, CudaDevice>;
  const Fenced<float, CudaDevice> z(logits), threshold(std::vector<float>{c.threshold});
  const Ints sample_of(sample);
  Fenced<float, CudaDevice> confidence(std::vector<float>(static_cast<std::size_t>(samples), -1.f));
  Ints predicted(std::vector<std::int32_t>(static_cast<std::size_t>(samples), -1)),
      exit_of(std::vector<std::int32_t>(static_cast<std::size_t>(samples), -1)), row(rows), next(rows),
      count(1);
  cuda::decide_exits(CudaDevice::context(),
                     {.n = c.n,
                      .classes = c.classes,
                      .exit = 3,
                      .last = c.last,
                      .logits = z.data(),
                      .threshold = threshold.data(),
                      .sample = identity ? nullptr : sample_of.data(),
                      .confidence = confidence.data(),
                      .predicted = predicted.data(),
                      .exit_of = exit_of.data(),
                      .row = row.data(),
                      .next_sample = next.data(),
                      .count = count.data()});
  const auto got_confidence = confidence.values();
  const auto got_predicted = predicted.values(), got_exit = exit_of.values();
  std::vector<bool> stopped(static_cast<std::size_t>(samples), false);
  for (std::size_t i = 0; i < rows; ++i) {
    const double margin = expected_confidence[i] - static_cast<double>(c.threshold);
    // exp and the sum of the classes are right to a few ulp of a probability.
    const double bound = sum_bound(c.classes, 1);
    ASSERT_TRUE(c.last || std::fabs(margin) > bound) << "choose a threshold that no row meets by chance";
    const auto at = static_cast<std::size_t>(sample[i]);
    if (c.last || margin > 0) {
      stopped[at] = true;
      EXPECT_NEAR(static_cast<double>(got_confidence[at]), expected_confidence[i], bound);
      EXPECT_EQ(got_predicted[at], expected_class[i]);
      EXPECT_EQ(got_exit[at], 3);
    } else {
      expected_row.push_back(static_cast<std::int32_t>(i));
      expected_next.push_back(sample[i]);
    }
  }
  for (std::size_t at = 0; at < stopped.size(); ++at) {
    EXPECT_EQ(got_exit[at], stopped[at] ? 3 : -1) << "sample " << at;
  }
  ASSERT_EQ(count.values()[0], static_cast<std::int32_t>(expected_row.size()));
  auto got_row = row.values(), got_next = next.values();
  got_row.resize(expected_row.size());
  got_next.resize(expected_row.size());
  EXPECT_EQ(got_row, expected_row);
  EXPECT_EQ(got_next, expected_next);
}

TEST_F(CudaExits, StopAndGoOnMatchTheReference) {
  for (const bool identity : {true, false}) {
    check({600, 10, 0.4f, false}, identity);  // three rounds of the compaction
    check({37, 100, 0.08f, false}, identity);
    check({1, 3, 0.2f, false}, identity);
    check({33, 5, 2.f, false}, identity);   // nobody stops
    check({33, 5, 2.f, true}, identity);    // everybody must
    check({33, 5, -1.f, false}, identity);  // thresholds may lie below 0
    check({0, 5, 0.5f, false}, identity);
  }
}

TEST_F(CudaExits, EqualityFollowsTheRule) {
  const Fenced<float, CudaDevice> logits(std::vector<float>{1.f, 1.f}), threshold(std::vector<float>{0.5f});
  for (const bool stops : {false, true}) {
    Fenced<float, CudaDevice> confidence(1);
    Fenced<std::int32_t, CudaDevice> predicted(1), exit_of(1), row(1), next(1), count(1);
    cuda::decide_exits(CudaDevice::context(),
                       {.n = 1,
                        .classes = 2,
                        .stops_at_threshold = stops,
                        .logits = logits.data(),
                        .threshold = threshold.data(),
                        .confidence = confidence.data(),
                        .predicted = predicted.data(),
                        .exit_of = exit_of.data(),
                        .row = row.data(),
                        .next_sample = next.data(),
                        .count = count.data()});
    EXPECT_EQ(count.values()[0], stops ? 0 : 1);
  }
}

// Rows behind `valid` do not exist; `row` is filled up with 0. With keeps_best a sample that is not sure
// keeps the more confident of its answer so far and this exit's.
TEST_F(CudaExits, OnlyValidRowsCountAndTheBestAnswerIsKept) {
  // Confidences of the three valid rows: 0.9, 0.6, 0.7 (to a rounding); the fourth would stop as well.
  const auto logit = [](double p) { return static_cast<float>(std::log(p / (1 - p))); };
  const Fenced<float, CudaDevice> logits(
      std::vector<float>{logit(.9), 0.f, 0.f, logit(.6), logit(.7), 0.f, logit(.99), 0.f});
  const Fenced<float, CudaDevice> threshold(std::vector<float>{0.8f});
  const Fenced<std::int32_t, CudaDevice> valid(std::vector<std::int32_t>{3}),
      sample(std::vector<std::int32_t>{4, 0, 2, 1});
  for (const bool last : {false, true}) {
    SCOPED_TRACE(last);
    Fenced<float, CudaDevice> confidence(std::vector<float>{.65f, -1.f, .5f, -1.f, .95f}),
        probabilities(std::vector<float>(10, -1.f));
    Fenced<std::int32_t, CudaDevice> predicted(std::vector<std::int32_t>(5, -1)),
        exit_of(std::vector<std::int32_t>(5, -1)), answered(std::vector<std::int32_t>(5, -1)), row(4),
        next(4), count(1);
    cuda::decide_exits(CudaDevice::context(),
                       {.n = 4,
                        .classes = 2,
                        .valid = valid.data(),
                        .exit = 2,
                        .last = last,
                        .keeps_best = true,
                        .logits = logits.data(),
                        .threshold = threshold.data(),
                        .sample = sample.data(),
                        .confidence = confidence.data(),
                        .predicted = predicted.data(),
                        .exit_of = exit_of.data(),
                        .answered = answered.data(),
                        .probabilities = probabilities.data(),
                        .row = row.data(),
                        .next_sample = next.data(),
                        .count = count.data()});
    // Sample 4 is sure (before the end) although an earlier exit was surer; at the end the surer answer
    // stays. Sample 0 keeps 0.65, sample 2 takes 0.7, samples 1 and 3 are not in the batch.
    const std::vector<std::int32_t> all = {-1, -1, 2, -1, last ? -1 : 2};
    EXPECT_EQ(answered.values(), all);
    EXPECT_EQ(predicted.values(), (std::vector<std::int32_t>{-1, -1, 0, -1, last ? -1 : 0}));
    EXPECT_EQ(
        exit_of.values(),
        last ? (std::vector<std::int32_t>{2, -1, 2, -1, 2}) : (std::vector<std::int32_t>{-1, -1, -1, -1, 2}));
    const double bound = sum_bound(2, 1);
    EXPECT_CLOSE(confidence.values(), (std::vector<double>{.65f, -1, .7, -1, last ? .95f : .9}), bound);
    EXPECT_CLOSE(probabilities.values(),
                 (std::vector<double>{-1, -1, -1, -1, .7, .3, -1, -1, last ? -1 : .9, last ? -1 : .1}),
                 bound);
    EXPECT_EQ(count.values()[0], last ? 0 : 2);
    EXPECT_EQ(row.values(),
              last ? (std::vector<std::int32_t>{0, 0, 0, 0}) : (std::vector<std::int32_t>{1, 2, 0, 0}));
    if (!last) {
      EXPECT_EQ(next.values()[0], 0);
      EXPECT_EQ(next.values()[1], 2);
    }
  }
}

}  // namespace
}  // namespace offramp::test
