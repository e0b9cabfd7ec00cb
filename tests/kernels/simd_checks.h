#pragma once
// The checks of kernels/cpu/simd.h, compiled once per vector width by the simd_*_test.cpp files; SIMD_SUITE
// names the suite.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/simd.h"
#include "tests/support/random.h"

namespace offramp::cpu {
namespace {

using test::random_vector;

std::vector<float> lanes(f32x16 v) {
  std::vector<float> out(kLanes);
  store(out.data(), v);
  return out;
}

TEST(SIMD_SUITE, TailsTouchOnlyTheirLanes) {
  const std::vector<float> x = random_vector(kLanes + 1, 1);
  const std::vector<bf16> xb = random_vector<bf16>(kLanes + 1, 1);
  for (int count = 0; count <= kLanes; ++count) {
    const std::vector<float> part = lanes(load_n(x.data() + 1, count)),
                             partb = lanes(load_n(xb.data() + 1, count));
    std::vector<float> out(kLanes, 7.f);
    std::vector<bf16> outb(kLanes, bf16(7.f));
    store_n(out.data(), load(x.data() + 1), count);
    store_n(outb.data(), load(x.data() + 1), count);
    for (int i = 0; i < kLanes; ++i) {
      const auto k = static_cast<std::size_t>(i);
      EXPECT_EQ(part[k], i < count ? x[k + 1] : 0.f);
      EXPECT_EQ(partb[k], i < count ? static_cast<float>(xb[k + 1]) : 0.f);
      EXPECT_EQ(out[k], i < count ? x[k + 1] : 7.f);
      EXPECT_EQ(outb[k], i < count ? bf16(x[k + 1]) : bf16(7.f));
    }
    EXPECT_EQ(bits(first_lanes(count)), (1u << count) - 1u);
  }
}

TEST(SIMD_SUITE, BytesBecomeFloatsAndBack) {
  std::vector<std::uint8_t> bytes(256 + kLanes), back(bytes.size(), 7);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i);
  for (std::size_t at = 0; at < 256; at += 11) {
    const int count = static_cast<int>(at % (kLanes + 1));
    const f32x16 v = load_bytes_n(bytes.data() + at, count);
    std::fill(back.begin(), back.end(), std::uint8_t{7});
    store_bytes_n(back.data() + at, v, count);
    for (int i = 0; i < kLanes; ++i) {
      const std::size_t k = at + static_cast<std::size_t>(i);
      EXPECT_EQ(lanes(v)[static_cast<std::size_t>(i)], i < count ? static_cast<float>(bytes[k]) : 0.f);
      EXPECT_EQ(back[k], i < count ? bytes[k] : 7);
    }
  }
}

TEST(SIMD_SUITE, StoringBf16RoundsAsTheScalarTypeDoes) {
  // Every upper half, with lower halves around the tie.
  const std::uint32_t lows[] = {0x0000, 0x0001, 0x7fff, 0x8000, 0x8001, 0xffff};
  std::vector<float> x(kLanes);
  std::vector<bf16> got(kLanes);
  for (std::uint32_t high = 0; high < 0x10000; high += kLanes) {
    for (const std::uint32_t low : lows) {
      for (std::uint32_t i = 0; i < kLanes; ++i) x[i] = std::bit_cast<float>((high + i) << 16 | low);
      store(got.data(), load(x.data()));
      for (std::size_t i = 0; i < kLanes; ++i) {
        ASSERT_EQ(got[i].bits, bf16(x[i]).bits) << std::hex << std::bit_cast<std::uint32_t>(x[i]);
      }
    }
  }
}

TEST(SIMD_SUITE, ArithmeticIsTheScalarArithmeticPerLane) {
  const std::vector<float> a = random_vector(kLanes, 2), b = random_vector(kLanes, 3),
                           c = random_vector(kLanes, 4);
  const f32x16 va = load(a.data()), vb = load(b.data()), vc = load(c.data());
  const std::vector<float> add = lanes(va + vb), sub = lanes(va - vb), mul = lanes(va * vb),
                           div = lanes(va / vb);
  const std::vector<float> fused = lanes(fma(va, vb, vc)), top = lanes(max(va, vb)), low = lanes(min(va, vb));
  const std::vector<float> root = lanes(sqrt(abs(va))), negative = lanes(-va);
  const std::vector<float> round = lanes(round_even(va * splat(8.f)));
  const std::vector<float> picked = lanes(select(greater(va, vb), va, vc)),
                           kept = lanes(keep(greater(va, vb), va));
  for (std::size_t i = 0; i < kLanes; ++i) {
    EXPECT_EQ(add[i], a[i] + b[i]);
    EXPECT_EQ(sub[i], a[i] - b[i]);
    EXPECT_EQ(mul[i], a[i] * b[i]);
    EXPECT_EQ(div[i], a[i] / b[i]);
    EXPECT_EQ(fused[i], std::fma(a[i], b[i], c[i]));
    EXPECT_EQ(top[i], std::max(a[i], b[i]));
    EXPECT_EQ(low[i], std::min(a[i], b[i]));
    EXPECT_EQ(root[i], std::sqrt(std::fabs(a[i])));
    EXPECT_EQ(negative[i], -a[i]);
    EXPECT_EQ(round[i], std::nearbyint(a[i] * 8.f));
    EXPECT_EQ(picked[i], a[i] > b[i] ? a[i] : c[i]);
    EXPECT_EQ(kept[i], a[i] > b[i] ? a[i] : 0.f);
    EXPECT_EQ(bits(greater(va, vb)) >> i & 1u, a[i] > b[i] ? 1u : 0u);
  }
}

TEST(SIMD_SUITE, NanComparesAndPropagatesAsDocumented) {
  const f32x16 nan = splat(std::numeric_limits<float>::quiet_NaN()), one = splat(1.f);
  EXPECT_EQ(bits(greater(nan, one)), 0u);
  EXPECT_EQ(bits(equal(nan, nan)), 0u);
  EXPECT_EQ(bits(differs(nan, nan)), 0xffffu);
  EXPECT_EQ(lanes(max(nan, one))[0], 1.f);
  EXPECT_TRUE(std::isnan(lanes(max(one, nan))[0]));
  EXPECT_TRUE(std::isnan(lanes(exp(nan))[0]));
}

TEST(SIMD_SUITE, MasksCombineAndRoundTripThroughBits) {
  for (std::uint32_t b = 0; b < 0x10000; b += 251) {
    const mask16 m = mask_from_bits(b);
    EXPECT_EQ(bits(m), b);
    EXPECT_EQ(bits(m | mask_from_bits(0x00ffu)), b | 0x00ffu);
    EXPECT_EQ(bits(m & mask_from_bits(0x0ff0u)), b & 0x0ff0u);
  }
}

TEST(SIMD_SUITE, HorizontalSumFoldsHalvesAndMaximumIsExact) {
  const std::vector<float> x = random_vector(kLanes, 5);
  std::vector<float> folded = x;
  for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) folded[i] += folded[i + half];
  }
  EXPECT_EQ(sum(load(x.data())), folded[0]);
  EXPECT_EQ(max_lane(load(x.data())), *std::max_element(x.begin(), x.end()));
}

TEST(SIMD_SUITE, ExpStaysWithinItsBound) {
  // A fixed grid over the normal range and the end points; ulp measured at the exact value.
  double worst = 0;
  std::vector<float> x(kLanes), y(kLanes);
  constexpr int kSteps = 200000;
  for (int step = 0; step < kSteps; step += kLanes) {
    for (int i = 0; i < kLanes; ++i) {
      x[static_cast<std::size_t>(i)] =
          static_cast<float>(-87.3 + (88.7 + 87.3) * (step + i) / (kSteps + kLanes));
    }
    store(y.data(), exp(load(x.data())));
    for (std::size_t i = 0; i < kLanes; ++i) {
      const double exact = std::exp(static_cast<double>(x[i]));
      const double ulp = std::ldexp(1.0, std::ilogb(exact) - 23);
      worst = std::max(worst, std::fabs(static_cast<double>(y[i]) - exact) / ulp);
    }
  }
  EXPECT_LE(worst, kExpUlp);
  EXPECT_GT(worst, 0.5);  // a correctly rounded exp would be a change of method
  const float infinity = std::numeric_limits<float>::infinity();
  const auto at = [](float value) { return lanes(exp(splat(value)))[3]; };
  EXPECT_EQ(at(0.f), 1.f);
  EXPECT_EQ(at(-infinity), 0.f);
  EXPECT_EQ(at(-200.f), 0.f);
  EXPECT_EQ(at(infinity), infinity);
  EXPECT_EQ(at(89.f), infinity);
  EXPECT_NEAR(at(-95.f), std::exp(-95.0), 1.5 * std::numeric_limits<float>::denorm_min());
}

}  // namespace
}  // namespace offramp::cpu
