#include "stats/membership/attribute_leak.h"

#include <cmath>
#include <random>

#include "tests/stats/expect_message.h"

namespace offramp::stats {
namespace {

struct Pairs {
  std::vector<std::size_t> exit, attribute;
};
// An attribute of two values, three in five the first; the exit is the attribute with probability `told`, else even.
Pairs draw_pairs(std::size_t n, double told, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::uniform_real_distribution<double> uniform;
  Pairs p;
  for (std::size_t i = 0; i < n; ++i) {
    p.attribute.push_back(uniform(rng) < .6 ? 7 : 9);
    p.exit.push_back(uniform(rng) < told ? (p.attribute.back() == 7 ? 1 : 2) : 1 + rng() % 2);
  }
  return p;
}
constexpr AttributeLeakOptions kQuick{.permutations = 200, .resamples = 300, .threads = 1};

TEST(AttributeLeak, NoiseTellsNothing) {
  int small = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    const Pairs p = draw_pairs(300, 0, seed);
    small +=
        attribute_leak(p.exit, p.attribute, {.permutations = 99, .resamples = 1, .seed = seed}).p_value <= .05
            ? 1
            : 0;
  }
  EXPECT_LE(small, 7);  // of 40 at 5 %: 2 expected, 8 or more once in 800
  const Pairs p = draw_pairs(3000, 0, 50);
  const auto leak = attribute_leak(p.exit, p.attribute, kQuick);
  EXPECT_LT(leak.information.corrected, .002);
  EXPECT_EQ(leak.corrected.low, 0);
  EXPECT_NEAR(leak.gain.estimate, 1, .02);
}

TEST(AttributeLeak, TheTruthLiesInItsInterval) {
  // P(exit 1 | 7) = .75, P(exit 1 | 9) = .25: I = H(.6 * .75 + .4 * .25) - H(.75); the best guess is right on .75.
  const auto h = [](double p) { return -p * std::log2(p) - (1 - p) * std::log2(1 - p); };
  const double truth = h(.55) - h(.75);
  int inside = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Pairs p = draw_pairs(1500, .5, seed);
    const auto leak = attribute_leak(p.exit, p.attribute, kQuick);
    inside += leak.corrected.low <= truth && truth <= leak.corrected.high ? 1 : 0;
    EXPECT_NEAR(leak.accuracy.estimate, .75, 4 * std::sqrt(.75 * .25 / 1500));
    EXPECT_NEAR(leak.gain.estimate, .75 / leak.commonest, 4 * std::sqrt(.75 * .25 / 1500) / .6);
    EXPECT_EQ(leak.p_value, 1.0 / 201);
    EXPECT_LT(leak.gain.low, leak.gain.estimate);
    EXPECT_GT(leak.gain.high, leak.gain.estimate);
    EXPECT_EQ(leak.gain.high, leak.accuracy.high / leak.commonest);
  }
  EXPECT_GE(inside, 16);
}

// Weak leaks with many cells, whose uncorrected information is mostly bias: a tenth of its truth, and a hundredth of a bit.
TEST(AttributeLeak, ManyValuesAreNotUnderstated) {
  constexpr std::size_t kExits = 4, kValues = 10;
  constexpr double kTold = .2;
  double truth = 0;
  for (std::size_t e = 0; e < kExits; ++e) {
    const double alike = e < 2 ? .3 : .2, p = kTold * alike + (1 - kTold) / kExits;  // values 0 .. 9 modulo 4
    truth -= p * std::log2(p);
    const double here = kTold + (1 - kTold) / kExits, elsewhere = (1 - kTold) / kExits;
    truth += alike * here * std::log2(here) + (1 - alike) * elsewhere * std::log2(elsewhere);
  }
  int inside = 0, above = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 rng(seed);
    std::uniform_real_distribution<double> uniform;
    Pairs p;
    for (int i = 0; i < 600; ++i) {
      p.attribute.push_back(rng() % kValues);
      p.exit.push_back(uniform(rng) < kTold ? p.attribute.back() % kExits : rng() % kExits);
    }
    const auto leak = attribute_leak(
        p.exit, p.attribute, {.permutations = 9, .resamples = 300, .seed = seed, .threads = 1});
    inside += leak.corrected.low <= truth && truth <= leak.corrected.high ? 1 : 0;
    above += truth > leak.corrected.high ? 1 : 0;
  }
  EXPECT_GE(inside, 51);  // of 60 at 95 %: 57 expected, 50 or fewer once in 500
  EXPECT_LE(above, 8);
}

TEST(AttributeLeak, ValuesOneByOne) {
  const Pairs p = draw_pairs(2000, 1, 3);  // the exit is the attribute
  const auto leak = attribute_leak(p.exit, p.attribute, kQuick);
  ASSERT_EQ(leak.values.size(), 2u);
  EXPECT_EQ(leak.values[0].value, 7u);
  for (const auto& v : leak.values) {
    EXPECT_NEAR(v.recall, 1, 1e-12);
    EXPECT_NEAR(v.information_bits, leak.information.of_labels, .001);
  }
  EXPECT_EQ(leak.accuracy.estimate, 1);
}

// Every sample an observation of its own: the plain information is the whole entropy, and a guess on others' samples is none.
TEST(AttributeLeak, AnObservationOfItsOwnIsNoKnowledge) {
  Pairs p = draw_pairs(600, 0, 4);
  for (std::size_t i = 0; i < 600; ++i) p.exit[i] = i;
  const auto leak = attribute_leak(p.exit, p.attribute, kQuick);
  EXPECT_NEAR(leak.information.plug_in, leak.information.of_labels, 1e-12);
  EXPECT_NEAR(leak.gain.estimate, 1, .05);
  EXPECT_EQ(leak.p_value, 1);
}

TEST(AttributeLeak, NothingSaysMoreThanTheAttributeHolds) {
  std::vector<std::size_t> two, own;
  for (std::size_t i = 0; i < 20; ++i) two.push_back(i % 2), own.push_back(i);
  const auto perfect = attribute_leak(two, two, kQuick), unique = attribute_leak(own, own, kQuick);
  EXPECT_EQ(perfect.corrected.estimate, 1);
  EXPECT_EQ(perfect.corrected.high, 1);
  EXPECT_LT(perfect.corrected.low, 1);  // of 20 rows
  EXPECT_GT(perfect.corrected.low, .5);
  for (const auto& v : perfect.values) EXPECT_LE(v.information_bits, 1);
  EXPECT_EQ(unique.p_value, 1);
  EXPECT_EQ(unique.corrected.high, unique.information.of_labels);
  EXPECT_EQ(unique.corrected.low, 0);
}

// Nor more than the exits hold, whose entropy may be the smaller one.
TEST(AttributeLeak, NothingSaysMoreThanTheExitsHold) {
  std::vector<std::size_t> exit, own;
  for (std::size_t i = 0; i < 60; ++i) exit.push_back(i % 3), own.push_back(i);
  const auto leak = attribute_leak(exit, own, kQuick);
  EXPECT_NEAR(leak.information.of_first, std::log2(3), 1e-12);
  EXPECT_LE(leak.corrected.estimate, leak.information.of_first);
  EXPECT_LE(leak.corrected.high, leak.information.of_first);
  const std::vector<std::size_t> constant(60, 4);
  const auto nothing = attribute_leak(exit, constant, kQuick);
  EXPECT_EQ(nothing.information.of_labels, 0);
  EXPECT_EQ(nothing.corrected.high, 0);
  EXPECT_EQ(nothing.values[0].recall, 1);
}

TEST(AttributeLeak, BadInputIsNamed) {
  const std::vector<std::size_t> three = {1, 2, 3}, two = {1, 2};
  EXPECT_MESSAGE(attribute_leak(three, two), "attribute_leak");
  EXPECT_MESSAGE(attribute_leak(three, three), "at least 5 samples, got 3");
  EXPECT_MESSAGE(attribute_leak(three, three, {.folds = 1}), "at least two folds");
}

}  // namespace
}  // namespace offramp::stats
