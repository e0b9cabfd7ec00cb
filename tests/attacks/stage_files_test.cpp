// The files between the stages: what is written comes back, and what earlier versions wrote still opens.
#include "attacks/extraction/stage_files.h"

#include <gtest/gtest.h>

#include <limits>

#include "attacks/extraction/algorithms.h"
#include "attacks/extraction/names.h"
#include "base/json_file.h"
#include "tests/attacks/message.h"
#include "tests/support/temp_folder.h"

#if OFFRAMP_HAS_CUDA
#include "kernels/cuda/runtime.h"
#endif

namespace offramp::attacks {
namespace {

TEST(StageFiles, AnAssignmentComesBackAndMayLackItsConfidence) {
  test::TempFolder folder;
  const auto path = folder / "assignment.csv";
  stats::ExitEstimate estimate;
  estimate.exits = {1, 3, 2};
  estimate.confidence = {1, 0.1, 0.5};
  write_assignment(path, estimate);
  EXPECT_EQ(test::read_text(path), "index,exit,confidence\n0,1,1\n1,3,0.1\n2,2,0.5\n");
  const std::vector<std::int32_t> exits{1, 3, 2};
  EXPECT_EQ(read_assignment(path), exits);
  for (const char* text : {"index,exit\n0,1\n1,3\n2,2\n",
                           "\xEF\xBB\xBFindex,exit\r\n0,1\r\n1,3\r\n2,2\r\n\r\n",
                           "index,exit\n0,1.0\n1,3.0\n2,2.0\n"}) {
    test::write_text(path, text);
    EXPECT_EQ(read_assignment(path), exits) << text;
  }
  test::write_text(path, "index,exit\n0,1\n2,1\n");
  EXPECT_EQ(test::message_of([&] { read_assignment(path); }),
            path.string() + ": line 3: expected index 1, found 2");
  test::write_text(path, "index,exit\n0,0\n");
  EXPECT_EQ(test::message_of([&] { read_assignment(path); }),
            path.string() + ": line 2: expected an exit from 1 to 16 in column 'exit', found '0'");
}

// The index says which image a row is of, wherever it stands.
TEST(StageFiles, ATableOfTimesMayNumberItsSamples) {
  test::TempFolder folder;
  const auto times = folder / "times.csv", path = folder / "assignment.csv";
  test::write_text(times, "index,t1,t2\n2,5,6\n0,1,2\n1,3,4\n");
  const RecordedTimes read = read_times(times);
  EXPECT_EQ(read.ns, (std::vector<double>{5, 6, 1, 2, 3, 4}));
  stats::ExitEstimate estimate;
  estimate.exits = {3, 1, 2};
  estimate.confidence = {1, 1, 1};
  write_assignment(path, estimate, read.index);
  EXPECT_EQ(read_assignment(path), (std::vector<std::int32_t>{1, 2, 3}));
  const auto said = [&](const std::string& text) {
    test::write_text(times, text);
    return test::message_of([&] { read_times(times); });
  };
  EXPECT_EQ(said("index,nanoseconds\n0,1\n1,2\n0,3\n"), times.string() + ": line 4: index 0 is there twice");
  EXPECT_NE(said("nanoseconds,t1,t2\n5,1,2\n").find("which are the times?"), std::string::npos);
  test::write_text(folder / "order.csv", "p1,p2\n0,0\n1,1\n");
  test::write_text(times, "index,t1,t2\n1,5,6\n0,1,2\n");
  EXPECT_NE(test::message_of([&] { read_times(folder.path()); }).find("index 1, expected 0: a trace's rows"),
            std::string::npos);
}

TEST(StageFiles, ConfidencesComeBackToTheSameDouble) {
  test::TempFolder folder;
  const auto path = folder / "confidences.csv";
  Confidences c{.num_exits = 2, .values = {0.1, 1.0 / 3, 5e-324, 1}, .exits = {1, 2}, .weights = {}};
  for (const auto& weights : {std::vector<double>{}, std::vector<double>{0, 1}}) {
    c.weights = weights;
    write_confidences(path, c);
    const Confidences back = read_confidences(path);
    EXPECT_EQ(back.num_exits, 2);
    EXPECT_EQ(back.values, c.values);
    EXPECT_EQ(back.exits, c.exits);
    EXPECT_EQ(back.weights, c.weights);
  }
}

// Both schemas of version 0.1: that of `extract run`, and that of `extract search`.
TEST(StageFiles, StrategiesOfEarlierVersionsOpen) {
  test::TempFolder folder;
  const auto path = folder / "strategy.json";
  const std::vector<double> thresholds{0.5, 0.75};
  for (const char* text :
       {R"({"thresholds":[0.5,0.75],"objective":"joint","class_counts":false,"samples":8,"value":6.0,
            "upper_bound":6.0,"optimal":true,"seconds":0.1})",
        R"({"thresholds":[0.5,0.75],"objective":"joint","value":6.0,"upper_bound":6.0,"optimal":true,
            "seconds":0.1,"time_limit_reached":false,"nodes":0,"joint_value":6.0,"samples":8,"exits":3})"}) {
    test::write_text(path, text);
    EXPECT_EQ(read_thresholds(path), thresholds);
  }
  test::write_text(path, R"({"thresholds":[0.5,"x"]})");
  EXPECT_EQ(test::message_of([&] { read_thresholds(path); }),
            path.string() + ": expected a list of numbers under 'thresholds', got '[0.5,\"x\"]'");
}

TEST(StageFiles, AStrategyHasTheKeysOfBothEarlierSchemas) {
  const Confidences c{.num_exits = 2, .values = {0.9, 1, 0.2, 1}, .exits = {1, 2}, .weights = {}};
  const auto json = strategy_json(search_strategy(c), c, {});
  for (const char* key : {"thresholds",
                          "objective",
                          "class_counts",
                          "samples",
                          "exits",
                          "value",
                          "joint_value",
                          "upper_bound",
                          "optimal",
                          "seconds",
                          "time_limit_reached",
                          "nodes",
                          "solver"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_EQ(json["value"], 2);
  EXPECT_EQ(json["solver"], "cpu");
}

TEST(StageFiles, AnEstimateHasTheKeysOfBothEarlierSchemasAndNoInfinity) {
  test::TempFolder folder;
  stats::ExitEstimate one;
  one.exits = {1};
  one.separation_sigmas = std::numeric_limits<double>::infinity();
  const auto json = estimate_json(one, {}, 5);
  for (const char* key : {"exits",
                          "thresholds_ns",
                          "counts",
                          "centres_ns",
                          "statistic",
                          "speed_divided_out",
                          "slowness",
                          "sigma_ns",
                          "bandwidth_ns",
                          "separation_sigmas",
                          "reliable",
                          "advice",
                          "sigma_from",
                          "repetitions",
                          "repetitions_needed",
                          "drift_sigmas",
                          "samples",
                          "method"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_TRUE(json["separation_sigmas"].is_null());
  EXPECT_EQ(json["method"], "kde");
  EXPECT_EQ(json["sigma_from"], "none");
  EXPECT_EQ(json["computed_on"], "cpu");
  // Asked for a mixture, parted by a density: the method is the one that found the exits.
  const auto parted = estimate_json(one, {.method = stats::EstimationMethod::kMixture}, 1);
  EXPECT_EQ(parted["method"], "kde");
  EXPECT_FALSE(parted.contains("posterior"));
}

TEST(StageFiles, AnEstimateSaysEachNumberUnderItsName) {
  stats::ExitEstimate e;
  e.method = stats::EstimationMethod::kMixture;
  e.num_exits = 2;
  e.thresholds_ns = {15};
  e.threshold_low_ns = {14};
  e.threshold_high_ns = {16};
  e.counts = {3, 4};
  e.centres_ns = {10, 20};
  e.exits = {1, 1, 1, 2, 2, 2, 2};
  e.least_exits = 1, e.most_exits = 5;
  e.shortest = .9, e.longest = 1.3;
  e.sigma_ns = 2, e.drift_sigmas = .5, e.separation_sigmas = 5, e.tick_ns = 7, e.replaced = 8;
  e.spreads_ns = {1, 3};
  e.posterior = {.1, .9};
  e.repetitions_needed = 6;
  const auto json = estimate_json(e, {}, 4);
  const nlohmann::ordered_json want = {{"exits", 2},
                                       {"thresholds_ns", {15.}},
                                       {"threshold_low_ns", {14.}},
                                       {"threshold_high_ns", {16.}},
                                       {"counts", {3, 4}},
                                       {"centres_ns", {10., 20.}},
                                       {"samples", 7},
                                       {"repetitions", 4},
                                       {"repetitions_needed", 6},
                                       {"method", "mixture"},
                                       {"slowness", {.9, 1.3}},
                                       {"sigma_ns", 2.},
                                       {"drift_sigmas", .5},
                                       {"separation_sigmas", 5.},
                                       {"tick_ns", 7.},
                                       {"replaced", 8},
                                       {"spreads_ns", {1., 3.}},
                                       {"posterior", {.1, .9}},
                                       {"between_exits", {1, 5}}};
  for (const auto& [key, value] : want.items()) EXPECT_EQ(json.at(key), value) << key;
}

TEST(Algorithms, TheCpuKeepsThoseOfStats) {
  stats::EstimationOptions estimation;
  estimation.density = [](auto...) { return std::vector<double>(); };
  stats::SearchOptions search;
  search.solver = [](const auto&) { return stats::RankedOptimum(); };
  compute_on(Device::cpu(), estimation);
  compute_on(Device::cpu(), search);
  EXPECT_FALSE(estimation.density);
  EXPECT_FALSE(estimation.segmentation);
  EXPECT_FALSE(search.solver);
}

#if OFFRAMP_HAS_CUDA
TEST(Algorithms, ACudaDeviceSearchesAndItsFileSaysSo) {
  if (const std::string why = cuda::why_no_device(); !why.empty()) GTEST_SKIP() << why;
  Confidences c{.num_exits = 3, .values = {}, .exits = {}, .weights = {}};
  for (int i = 0; i < 60; ++i) {
    c.exits.push_back(1 + i % 3);
    for (int e = 0; e < 3; ++e) c.values.push_back(((i * 37 + e * 11) % 101) / 101.0);
  }
  stats::SearchOptions on_device;
  compute_on(Device::cuda(), on_device);
  const auto found = search_strategy(c, on_device);
  EXPECT_EQ(found.search.value, search_strategy(c).search.value);
  EXPECT_EQ(strategy_json(found, c, on_device)["solver"], "cuda");
}
#endif

}  // namespace
}  // namespace offramp::attacks
