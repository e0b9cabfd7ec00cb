// Recorded running times of real nets (traces/README.md).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "stats/exits/exit_estimation.h"
#include "tests/support/noise_models.h"

namespace offramp::stats {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(OFFRAMP_SOURCE_DIR) / "tests/stats/traces";

struct RecordedTrace {
  std::vector<std::size_t> exits;
  std::vector<double> times;
  std::size_t repetitions = 0;
};
RecordedTrace read_trace(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line, cell;
  std::getline(file, line);
  EXPECT_EQ(line.rfind("exit,t1", 0), 0u) << path;
  RecordedTrace t;
  t.repetitions = static_cast<std::size_t>(std::count(line.begin(), line.end(), ','));
  while (std::getline(file, line)) {
    std::istringstream cells(line);
    std::getline(cells, cell, ',');
    t.exits.push_back(static_cast<std::size_t>(std::stoul(cell)));
    while (std::getline(cells, cell, ',')) t.times.push_back(std::stod(cell));
    EXPECT_EQ(t.times.size(), t.exits.size() * t.repetitions) << path << " row " << t.exits.size();
  }
  return t;
}

TEST(EstimateTraces, EveryRecordedTraceGivesItsExitsWhereTheEstimateIsReliable) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".csv") files.push_back(entry.path());
  }
  ASSERT_GE(files.size(), 2u);
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    const RecordedTrace t = read_trace(path);
    for (const EstimationMethod method : {EstimationMethod::kDensity, EstimationMethod::kMixture}) {
      const ExitEstimate e = estimate_exits(t.times, t.repetitions, {.method = method});
      if (!e.reliable) continue;
      EXPECT_EQ(e.num_exits, *std::max_element(t.exits.begin(), t.exits.end())) << path << ": " << e.advice;
      EXPECT_GE(test::share_equal(e.exits, t.exits), 0.99) << path;
    }
  }
}

// Its third exit scatters six times as much as the second and is taken once in a hundred: the mixture thinks of queries that lost the
// processor. But they were slow each of ten times.
TEST(EstimateTraces, WhatIsSlowEveryTimeIsAnExitThatIsNoPromise) {
  const RecordedTrace t = read_trace(kFolder / "fcn-18-1-locations-cpu-quiet.csv");
  const ExitEstimate e = estimate_exits(t.times, t.repetitions, {.method = EstimationMethod::kMixture});
  EXPECT_EQ(e.num_exits, 3u);
  EXPECT_GE(test::share_equal(e.exits, t.exits), 0.99) << e.advice;
  EXPECT_FALSE(e.reliable);
  EXPECT_EQ(e.method, EstimationMethod::kMixture);
  EXPECT_EQ(e.probabilities.size(), 3 * t.exits.size());
  EXPECT_EQ(e.least_exits, 2u);
  EXPECT_GE(e.most_exits, 3u);
  EXPECT_EQ(
      e.advice.rfind("26 samples took far longer than the exit found for them in every repetition, and are "
                     "taken for an exit of their own: the number is no promise; ",
                     0),
      0u)
      << e.advice;
}

// Slow every time, but at two places: a third exit would not be theirs alone.
TEST(EstimateTraces, WhatIsSlowEveryTimeIsOnlyDoubtedWhereNoExitIsTheirs) {
  constexpr std::size_t kSamples = 1000, kRepetitions = 10;
  std::mt19937_64 rng(5);
  std::normal_distribution<double> noise(0, 1);
  std::vector<double> times;
  for (std::size_t i = 0; i < kSamples; ++i) {
    const double exit = i % 2 == 0 ? 1e6 : 10e6;
    const double centre = i % 100 < 2 ? exit * (3 + 0.5 * noise(rng)) : exit;
    for (std::size_t r = 0; r < kRepetitions; ++r) times.push_back(centre * (1 + 0.004 * noise(rng)));
  }
  const ExitEstimate e = estimate_exits(times, kRepetitions, {.method = EstimationMethod::kMixture});
  EXPECT_EQ(e.num_exits, 2u) << e.advice;
  EXPECT_FALSE(e.reliable);
  EXPECT_GE(e.most_exits, 3u);
  EXPECT_NE(e.advice.find("may be one of their own (--exits 3): the number is no promise; "),
            std::string::npos)
      << e.advice;
}

// Where the statistic that repeats best tears an exit apart, an attacker who knows how many there are takes another one.
TEST(EstimateTraces, ToldTheirNumberTheExitsAreThoseOfTheNet) {
  for (const char* name : {"fcn-18-1-locations-cpu-quiet.csv", "small-cnn-fashion-mnist-cpu-busy.csv"}) {
    const RecordedTrace t = read_trace(kFolder / name);
    EstimationOptions told{.method = EstimationMethod::kMixture};
    told.known_exits = *std::max_element(t.exits.begin(), t.exits.end());
    const ExitEstimate e = estimate_exits(t.times, t.repetitions, told);
    EXPECT_EQ(e.num_exits, *told.known_exits) << e.advice;
    EXPECT_GE(test::share_equal(e.exits, t.exits), 0.99) << name << ": " << e.advice;
  }
}

}  // namespace
}  // namespace offramp::stats
