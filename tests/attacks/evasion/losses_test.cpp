// Losses of logits against finite differences and closed forms.
#include "attacks/evasion/losses.h"

#include <gtest/gtest.h>

#include "tests/attacks/evasion/victims.h"

namespace offramp::test {
namespace {

using Loss = std::function<double(Logits, LogitGradient)>;

// Central differences with steps that floats hold exactly.
void expect_gradient(const Loss& loss, std::vector<float> z) {
  std::vector<double> d(z.size(), 0), unused(z.size(), 0);
  loss(z, d);
  double largest = 0;
  constexpr float kStep = 0x1p-8f;
  for (std::size_t k = 0; k < z.size(); ++k) {
    const float was = z[k];
    z[k] = was + kStep;
    const double up = loss(z, unused);
    z[k] = was - kStep;
    const double down = loss(z, unused);
    z[k] = was;
    const double difference = (up - down) / (2 * static_cast<double>(kStep));
    EXPECT_NEAR(d[k], difference, 2e-5 * (1 + std::abs(difference))) << "logit " << k;
    largest = std::max(largest, std::abs(d[k]));
  }
  EXPECT_GT(largest, 1e-3);
}

const std::vector<float> kLogits = {0.5f, -1.25f, 2.f, 0.75f, -0.5f};

TEST(EvasionLosses, GradientsAreThoseOfFiniteDifferences) {
  for (const std::int32_t label : {0, 1, 2}) {
    expect_gradient([&](Logits z, LogitGradient d) { return cross_entropy(z, label, 1.5, d); }, kLogits);
    expect_gradient([&](Logits z, LogitGradient d) { return leave_prediction(z, label, 1.5, d); }, kLogits);
  }
  for (const std::int32_t label : {1, 2, 3}) {  // class 0 is the third: there the ratio is 1 whatever happens
    expect_gradient([&](Logits z, LogitGradient d) { return difference_of_logits_ratio(z, label, 1.5, d); },
                    kLogits);
  }
  for (const std::int32_t label : {0, 2, 3}) {  // class 1 is the last: no other class is below it
    expect_gradient([&](Logits z, LogitGradient d) { return hold_prediction(z, label, 5, 1.5, d); }, kLogits);
    expect_gradient([&](Logits z, LogitGradient d) { return hold_prediction(z, label, 2, 1.5, d); }, kLogits);
  }
  expect_gradient([](Logits z, LogitGradient d) { return uniform_cross_entropy(z, 1.5, d); }, kLogits);
}

TEST(EvasionLosses, ValuesOfUniformLogits) {
  const std::vector<float> z(4, 0.25f);
  std::vector<double> d(4, 0);
  EXPECT_NEAR(cross_entropy(z, 2, 1, d), std::log(4.0), 1e-12);
  EXPECT_NEAR(d[2], -0.75, 1e-12);
  EXPECT_NEAR(uniform_cross_entropy(z, 1, d), std::log(4.0), 1e-7);
  EXPECT_NEAR(leave_prediction(z, 0, 1, d), 0.25, 1e-12);
  EXPECT_EQ(hold_prediction(z, 0, 4, 1, d), 0);
  EXPECT_EQ(difference_of_logits_ratio(std::vector<float>{3, 2, 1}, 0, 1, d), -(1 / (2 + 1e-12)));
}

// Where the true class has all but nothing of the probability, its gradient is the others' sum and does not vanish.
TEST(EvasionLosses, SureAnswersKeepAGradient) {
  const std::vector<float> z = {60.f, 0.f, 0.f};
  std::vector<double> d(3, 0);
  cross_entropy(z, 0, 1, d);
  EXPECT_NEAR(d[0] / (-2 * std::exp(-60.0)), 1, 1e-9);
}

TEST(EvasionLosses, DlrDoesNotChangeWithTheScale) {
  std::vector<double> d(5, 0);
  std::vector<float> twice;
  for (const float v : kLogits) twice.push_back(2 * v);
  EXPECT_NEAR(difference_of_logits_ratio(kLogits, 0, 1, d), difference_of_logits_ratio(twice, 0, 1, d), 1e-9);
  EXPECT_EQ(error_of([&] {
              difference_of_logits_ratio(std::vector<float>{1, 2}, 0, 1, d);
            }),
            "evade: the difference of logits ratio needs three classes, the victim has 2");
}

}  // namespace
}  // namespace offramp::test
