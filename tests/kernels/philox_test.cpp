#include "kernels/philox.h"

#include <gtest/gtest.h>

#include <cmath>

namespace offramp {
namespace {

// The three published vectors of the Random123 distribution (philox4x32, 10 rounds).
TEST(Philox, PublishedVectors) {
  struct Case {
    PhiloxBlock counter;
    std::uint32_t key[2];
    std::uint32_t expected[4];
  };
  const Case cases[] = {
      {{{0, 0, 0, 0}}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Case& c : cases) {
    const PhiloxBlock got = philox4x32_10(c.counter, c.key[0], c.key[1]);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(got.v[i], c.expected[i]) << "word " << i;
  }
}

TEST(Philox, UniformsLieInTheHalfOpenIntervalAndHaveTheRightMean) {
  const PhiloxKey key{.seed = 7, .stream = 1, .op = 2, .step = 3};
  constexpr int kCount = 1 << 16;
  double sum = 0;
  for (int i = 0; i < kCount; ++i) {
    const float u = key.uniform(static_cast<std::uint64_t>(i));
    ASSERT_GE(u, 0.f);
    ASSERT_LT(u, 1.f);
    sum += u;
  }
  const double five_sigma = 5 / std::sqrt(12.0 * kCount);
  EXPECT_NEAR(sum / kCount, 0.5, five_sigma);
}

TEST(Philox, EveryPartOfTheKeyChangesTheNumbers) {
  const PhiloxKey base{.seed = 1, .stream = 1, .op = 1, .step = 1};
  const PhiloxKey others[] = {{.seed = 2, .stream = 1, .op = 1, .step = 1},
                              {.seed = 1ull << 32 | 1, .stream = 1, .op = 1, .step = 1},
                              {.seed = 1, .stream = 2, .op = 1, .step = 1},
                              {.seed = 1, .stream = 1, .op = 2, .step = 1},
                              {.seed = 1, .stream = 1, .op = 1, .step = 2}};
  for (const PhiloxKey& other : others) EXPECT_NE(other.word(5), base.word(5));
  EXPECT_NE(base.word(5), base.word(5 + (1ull << 34)));
}

}  // namespace
}  // namespace offramp
