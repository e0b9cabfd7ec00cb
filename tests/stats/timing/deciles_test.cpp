#include "stats/timing/deciles.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "base/errors.h"
#include "stats/timing/weighted_deciles.h"
#include "tests/support/temp_folder.h"
#include "tests/support/timing_series.h"

namespace offramp::stats {
namespace {

TEST(Deciles, AreTheTypeTwoQuantilesOfR) {
  // quantile(c(3, 1, 4, 1, 5, 9, 2, 6, 5, 3), (1:9) / 10, type = 2)
  const Deciles ten = deciles(std::vector<double>{3, 1, 4, 1, 5, 9, 2, 6, 5, 3});
  EXPECT_EQ(ten, (Deciles{1, 1.5, 2.5, 3, 3.5, 4.5, 5, 5.5, 7.5}));
  // quantile(c(10, 20, 30, 40, 50, 60, 70), (1:9) / 10, type = 2)
  EXPECT_EQ(deciles(std::vector<double>{70, 60, 50, 40, 30, 20, 10}),
            (Deciles{10, 20, 30, 30, 40, 50, 50, 60, 70}));
  EXPECT_EQ(deciles(std::vector<double>{8}), (Deciles{8, 8, 8, 8, 8, 8, 8, 8, 8}));
  EXPECT_THROW(deciles({}), DataError);
  EXPECT_THROW(deciles(std::vector<double>{1, NAN}), DataError);
}

TEST(Deciles, OfCountsAreThoseOfTheSampleThatTheyCount) {
  std::mt19937_64 rng(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<double> sorted, drawn;
    std::vector<std::uint32_t> times;
    for (std::size_t i = 0, n = 1 + rng() % 30; i < n; ++i) {
      sorted.push_back(static_cast<double>(3 * i));
      times.push_back(static_cast<std::uint32_t>(rng() % 3));
      for (std::uint32_t k = 0; k < times.back(); ++k) drawn.push_back(sorted.back());
    }
    if (drawn.empty()) continue;
    EXPECT_EQ(deciles_of_counts(sorted, times, drawn.size()), deciles(drawn)) << round;
  }
}

TEST(DecileTest, FindsAShiftAndIsQuietWithoutOne) {
  const auto noise = [](std::uint64_t seed, double shift) {
    std::mt19937_64 rng(seed);
    std::normal_distribution<double> normal(1000 + shift, 10);
    std::vector<double> x(400);
    for (double& v : x) v = normal(rng);
    return x;
  };
  EXPECT_TRUE(decile_test(noise(1, 0), noise(2, 5), {.resamples = 2000}).leaks);
  int alarms = 0;
  for (std::uint64_t s = 0; s < 100; ++s)
    alarms += decile_test(noise(10 + 2 * s, 0), noise(11 + 2 * s, 0), {.resamples = 1000}).leaks ? 1 : 0;
  EXPECT_LE(alarms, 18);  // of 100 at 9 %: 19 or more once in 700
  const DecileTest one = decile_test(noise(1, 0), noise(2, 1), {.resamples = 500, .threads = 1}),
                   two = decile_test(noise(1, 0), noise(2, 1), {.resamples = 500, .threads = 3});
  EXPECT_EQ(one.threshold, two.threshold);
  EXPECT_THROW(decile_test(noise(1, 0), noise(2, 0), {.alpha = 0}), ValueError);
}

// R is no part of the project; where it is installed it checks ours.
TEST(DecileTest, AgreesWithRtlfInR) {
  if (std::system("command -v Rscript > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "Rscript (Debian: r-base-core) is not installed";
  const auto noise = test::recorded_noise(
      std::filesystem::path(OFFRAMP_SOURCE_DIR) / "tests/stats/traces/small-cnn-fashion-mnist-cpu-busy.csv",
      1);
  ASSERT_GT(noise.size(), 5000u);
  const test::TempFolder folder;
  for (const double effect : {0.0, 150.0, 2000.0}) {
    const ClassifiedTimes t = test::relabelled(noise, 600, effect, 3);
    std::vector<double> a, b;
    const std::string csv = (folder / "t.csv").string(), out = (folder / "out.txt").string();
    {
      std::ofstream file(csv);
      file << "class,ns\n";
      file.precision(17);
      for (std::size_t i = 0; i < t.ns.size(); ++i) {
        (t.is_b[i] != 0 ? b : a).push_back(t.ns[i]);
        file << (t.is_b[i] != 0 ? 'b' : 'a') << ',' << t.ns[i] << '\n';
      }
    }
    constexpr std::size_t kResamples = 4000;
    const std::string command = "Rscript --vanilla " OFFRAMP_SOURCE_DIR "/tests/stats/timing/rtlf.R " + csv +
                                " 0.09 " + std::to_string(kResamples) + " > " + out;
    ASSERT_EQ(std::system(command.c_str()), 0);
    const DecileTest ours = decile_test(a, b, {.resamples = kResamples});
    std::ifstream file(out);
    for (std::size_t d = 0; d < kDeciles; ++d) {
      double difference = 0, threshold = 0;
      ASSERT_TRUE(file >> difference >> threshold) << d;
      EXPECT_EQ(ours.difference[d], difference) << d;
      // Both thresholds are 99 % quantiles of 4,000 draws: their own deviations are about 3 % (of a half-normal tail) to
      // 8 % (of the recorded one).
      EXPECT_NEAR(ours.threshold[d], threshold, 0.25 * threshold) << d << ", effect " << effect;
      if (std::abs(difference / threshold - 1) > 0.25) {
        EXPECT_EQ(ours.flagged[d], difference > threshold) << d;
      }
    }
  }
}

}  // namespace
}  // namespace offramp::stats
