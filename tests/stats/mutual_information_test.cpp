#include "stats/mutual_information.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

constexpr double kInformationRounding = 1e-13;

TEST(MutualInformation, ByHandFromATable) {
  // Counts 3 1 / 1 3: 2 * 3/8 log2(3/8 / (1/4)) + 2 * 1/8 log2(1/8 / (1/4))
  const std::vector<std::size_t> x = {0, 0, 0, 0, 1, 1, 1, 1}, y = {5, 5, 5, 9, 5, 9, 9, 9};
  const MutualInformation m = mutual_information(x, y);
  EXPECT_NEAR(m.plug_in, 0.75 * std::log2(1.5) - 0.25, kInformationRounding);
  EXPECT_NEAR(m.corrected, m.plug_in - 1 / (16 * std::log(2)), kInformationRounding);
  EXPECT_NEAR(m.of_labels, 1, kInformationRounding);
}

TEST(MutualInformation, IsTheEntropyWhenTimeTellsAll) {
  std::vector<double> t;
  std::vector<std::size_t> e;
  for (std::size_t i = 0; i < 400; ++i) {
    e.push_back(1 + i % 4);
    t.push_back(100.0 * static_cast<double>(i % 4) + static_cast<double>(i) * 1e-3);
  }
  const MutualInformation m = mutual_information(t, e, 40);
  EXPECT_NEAR(m.plug_in, 2, kInformationRounding);
  EXPECT_NEAR(m.of_labels, 2, kInformationRounding);
  // Equal values share a bin: 4 distinct times give at most 4 bins.
  for (std::size_t i = 0; i < 400; ++i) t[i] = static_cast<double>(i % 4);
  EXPECT_NEAR(mutual_information(t, e, 40).plug_in, 2, kInformationRounding);
}

// A clock that always shows the same says nothing, however the labels stand in a row.
TEST(MutualInformation, EqualTimesAreNotPutIntoDifferentBins) {
  const std::vector<double> t(40, 5.0);
  std::vector<std::size_t> e(40, 1);
  std::fill_n(e.begin(), 20, 2);
  EXPECT_EQ(mutual_information(t, e).plug_in, 0);
  EXPECT_EQ(independence_p_value(t, e, 4, 19), 1);
}

TEST(MutualInformation, IsSymmetricAndTheCorrectionRemovesTheBiasOfIndependentData) {
  std::mt19937_64 rng(7);
  double plug_in = 0, corrected = 0;
  for (int trial = 0; trial < 40; ++trial) {
    std::vector<double> t;
    std::vector<std::size_t> e;
    for (int i = 0; i < 1000; ++i) {
      t.push_back(static_cast<double>(rng() % 1000003));
      e.push_back(rng() % 4);
    }
    const MutualInformation m = mutual_information(t, e, 16);
    plug_in += m.plug_in / 40;
    corrected += m.corrected / 40;
  }
  // Bias (16 - 1)(4 - 1) / (2 n ln 2) = 0.03246 bits; the mean of 40 chi-squares of 45 degrees is within 12
  // %.
  const double bias = 45 / (2000 * std::log(2));
  EXPECT_NEAR(plug_in, bias, 0.12 * bias);
  EXPECT_LT(corrected, 0.2 * bias);
  const std::vector<std::size_t> a = {1, 1, 2, 3}, b = {4, 5, 4, 4};
  EXPECT_NEAR(mutual_information(a, b).plug_in, mutual_information(b, a).plug_in, kInformationRounding);
}

TEST(MutualInformation, PermutationTestTellsDependenceFromChance) {
  std::mt19937_64 rng(9);
  std::normal_distribution<double> normal;
  std::vector<double> dependent, independent;
  std::vector<std::size_t> e;
  for (int i = 0; i < 300; ++i) {
    e.push_back(rng() % 3);
    dependent.push_back(normal(rng) + 0.8 * static_cast<double>(e.back()));
    independent.push_back(normal(rng));
  }
  EXPECT_EQ(independence_p_value(dependent, e, 8, 199), 1.0 / 200);
  EXPECT_GT(independence_p_value(independent, e, 8, 199), 0.05);
}

// Sixty values in 64 bins would tell everything of any label; as few bins as they fill tell nothing.
TEST(MutualInformation, FewValuesGetFewBins) {
  std::mt19937_64 rng(3);
  std::uniform_real_distribution<double> uniform;
  double worst = 0;
  for (const std::size_t n : {30u, 60u, 100u, 400u}) {
    double sum = 0;
    for (int round = 0; round < 50; ++round) {
      std::vector<double> t;
      std::vector<std::size_t> e;
      for (std::size_t i = 0; i < n; ++i) t.push_back(uniform(rng)), e.push_back(rng() % 4);
      sum += mutual_information(t, e).corrected / 50;
    }
    worst = std::max(worst, sum);
  }
  EXPECT_LT(worst, .05);
}

TEST(MutualInformation, BadInputIsNamed) {
  const std::vector<std::size_t> none, two = {1, 2};
  const std::vector<double> nan = {1, std::nan("")}, one = {1};
  EXPECT_MESSAGE(mutual_information(none, none), "at least one pair is needed, got none");
  EXPECT_MESSAGE(mutual_information(one, two), "x and y must have equal lengths, got 1 and 2");
  EXPECT_MESSAGE(mutual_information(nan, two), "x must be finite, got nan at index 1");
}

}  // namespace
}  // namespace offramp::stats
