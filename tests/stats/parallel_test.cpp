#include "stats/parallel.h"

#include "base/cpus.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace offramp::stats {
namespace {

TEST(Parallel, NoNumberOfThreadsMeansTheCpusThatThisProcessMayUse) {
  EXPECT_EQ(resolve_threads(0), static_cast<unsigned>(usable_cpus()));
  EXPECT_EQ(resolve_threads(3), 3u);
  EXPECT_EQ(WorkerPool(0).size(), static_cast<unsigned>(usable_cpus()));
}

TEST(Parallel, EveryItemRunsOnceAndAnExceptionComesBack) {
  WorkerPool pool(3);
  std::vector<std::atomic<int>> runs(1000);
  pool.run(runs.size(), [&](std::size_t i) { ++runs[i]; });
  for (const auto& count : runs) EXPECT_EQ(count, 1);
  EXPECT_THROW(pool.run(10,
                        [](std::size_t i) {
                          if (i == 7) throw std::out_of_range("7");
                        }),
               std::out_of_range);
}

}  // namespace
}  // namespace offramp::stats
