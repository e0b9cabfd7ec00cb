// Exits from running times that are made up: what the estimate is turned into for the attack.
#include "attacks/membership/exit_times.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/attacks/message.h"

namespace offramp::attacks::membership {
namespace {

// Records that leave at `exits` with the shares given, and only their exits.
Records leaving(const std::vector<std::pair<int, int>>& counts, int num_exits) {
  Records r{.classes = 2, .num_exits = num_exits};
  for (const auto& [exit, count] : counts)
    for (int i = 0; i < count; ++i) {
      r.row.push_back(static_cast<std::int32_t>(r.row.size()));
      r.exit.push_back(exit);
    }
  return r;
}

Trace trace_of(const Records& r, double noise_ns, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal(0, noise_ns);
  Trace t;
  t.samples = static_cast<std::int64_t>(r.size());
  t.classes = 2;
  t.repetitions = 6;
  for (const std::int32_t e : r.exit)
    for (int k = 0; k < t.repetitions; ++k)
      t.times_ns.push_back(std::max(1LL, std::llround(50000 + 20000.0 * e + normal(rng))));
  return t;
}

TEST(ExitTimes, AreRightWhereTheClockIs) {
  const Records r = leaving({{1, 300}, {2, 200}, {3, 100}}, 3);
  const auto found = estimate_exits_of(trace_of(r, 500, 1), r, r, 1);
  EXPECT_EQ(found.exits, r.exit);
  EXPECT_EQ(found.accuracy, 1);
  EXPECT_EQ(found.found, 3u);
  EXPECT_FALSE(found.told);
  EXPECT_TRUE(found.reliable);
}

// Exit 2 is never taken and exit 4 by one record in 200: the second cluster is exit 3.
TEST(ExitTimes, ClustersAreTheExitsThatTheShadowTakes) {
  const Records r = leaving({{1, 600}, {3, 394}, {4, 6}}, 4);
  const auto found = estimate_exits_of(trace_of(r, 500, 2), r, r, 1);
  for (std::size_t i = 0; i < r.size(); ++i) EXPECT_EQ(found.exits[i], std::min(r.exit[i], 3)) << i;
  EXPECT_EQ(found.accuracy, .994);
}

TEST(ExitTimes, AClockThatTellsNothingIsSaid) {
  const Records r = leaving({{1, 300}, {2, 300}}, 2);
  const auto found = estimate_exits_of(trace_of(r, 200000, 3), r, r, 1);
  EXPECT_FALSE(found.reliable);
  EXPECT_LT(found.accuracy, .8);
  EXPECT_EQ(test::message_of([&] {
              estimate_exits_of(trace_of(leaving({{1, 5}}, 2), 500, 1), r, r, 1);
            }),
            "exit times: the trace has 5 samples, the records 600");
}

// One answer in ninety lost the processor for milliseconds: the exits lie 59 us apart, and no mean of queries of that answer
// hides it. A density may take these for the second exit, and all others for the first.
TEST(ExitTimes, QueriesThatWereLateAreNoExit) {
  const Records r = leaving({{1, 900}, {2, 100}}, 2);
  for (const std::uint64_t seed : {5u, 6u, 7u}) {
    std::mt19937_64 rng(seed);
    std::normal_distribution<double> normal;
    std::vector<double> ns;
    for (std::size_t i = 0; i < r.size(); ++i) {
      const double late = i % 91 == 0 ? 2e6 + 1e4 * static_cast<double>(rng() % 1000) : 0;
      ns.push_back(1e6 + late + (r.exit[i] == 2 ? 93500 + 1500 * normal(rng) : 34200 + 250 * normal(rng)) +
                   6000 * normal(rng));
    }
    const auto found = estimate_exits_of(ns, 1, {}, r, r, 1);
    EXPECT_EQ(found.found, 2u) << seed << ": " << found.advice;
    EXPECT_GE(found.accuracy, 1 - 11. / 1000) << seed;
  }
}

}  // namespace
}  // namespace offramp::attacks::membership
