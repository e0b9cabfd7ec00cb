// Recorded running times of real nets (traces/README.md).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "stats/exits/exit_estimation.h"
#include "tests/support/noise_models.h"

namespace offramp::stats {
namespace {

TEST(EstimateTraces, EveryRecordedTraceGivesItsExitsWhereTheEstimateIsReliable) {
  const std::filesystem::path folder = std::filesystem::path(OFFRAMP_SOURCE_DIR) / "tests/stats/traces";
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".csv") files.push_back(entry.path());
  }
  if (files.empty()) GTEST_SKIP() << "no recorded trace in " << folder;
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    std::ifstream file(path);
    std::string line, cell;
    std::getline(file, line);
    const auto repetitions = static_cast<std::size_t>(std::count(line.begin(), line.end(), ','));
    ASSERT_EQ(line.rfind("exit,t1", 0), 0u) << path;
    std::vector<std::size_t> exits;
    std::vector<double> times;
    while (std::getline(file, line)) {
      std::istringstream cells(line);
      std::getline(cells, cell, ',');
      exits.push_back(static_cast<std::size_t>(std::stoul(cell)));
      while (std::getline(cells, cell, ',')) times.push_back(std::stod(cell));
      ASSERT_EQ(times.size(), exits.size() * repetitions) << path << " row " << exits.size();
    }
    const ExitEstimate e = estimate_exits(times, repetitions);
    if (!e.reliable) continue;
    EXPECT_EQ(e.num_exits, *std::max_element(exits.begin(), exits.end())) << path << ": " << e.advice;
    EXPECT_GE(test::share_equal(e.exits, exits), 0.99) << path;
  }
}

}  // namespace
}  // namespace offramp::stats
