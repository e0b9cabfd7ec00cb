#include "kernels/cpu/context.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "base/errors.h"
#include "kernels/cpu/parallel.h"

namespace offramp::cpu {
namespace {

TEST(CpuContext, NegativeThreadCountIsNamed) {
  try {
    Context ctx(ContextOptions{.threads = -3});
    FAIL() << "no exception";
  } catch (const ValueError& e) {
    EXPECT_STREQ(e.what(), "cpu context: threads wants 0 (all) or more, got -3");
  }
}

TEST(CpuContext, WorkspaceGrowsAndStaysAligned) {
  Context ctx;
  EXPECT_EQ(ctx.workspace_bytes(), 0u);
  void* small = ctx.workspace(Context::kStage, 100);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(small) % 64, 0u);
  EXPECT_EQ(ctx.workspace(Context::kStage, 50), small);
  void* other = ctx.workspace(Context::kPacked, 10);
  EXPECT_NE(other, small);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(ctx.workspace(Context::kStage, 5000)) % 64, 0u);
  EXPECT_EQ(ctx.workspace_bytes(), 5010u);
}

TEST(CpuParallel, EveryIndexIsVisitedOnceForAnyThreadCount) {
  for (const int threads : {1, 2, 3, 7}) {
    Context ctx(ContextOptions{.threads = threads});
    for (const std::int64_t count : {0, 1, 2, 5, 64, 1001}) {
      std::vector<int> visits(static_cast<std::size_t>(count));
      parallel_for(ctx, count, [&](std::int64_t i) { ++visits[static_cast<std::size_t>(i)]; });
      EXPECT_EQ(visits, std::vector<int>(visits.size(), 1)) << threads << " threads, " << count << " indices";
    }
  }
}

TEST(CpuParallel, ThreadNumbersStayBelowTheContextsCount) {
  Context ctx(ContextOptions{.threads = 3});
  std::atomic<int> largest = 0, parts = 0;
  parallel_ranges(ctx, 100, [&](std::int64_t, std::int64_t, int thread) {
    ++parts;
    int seen = largest;
    while (thread > seen && !largest.compare_exchange_weak(seen, thread)) {
    }
  });
  EXPECT_LT(largest, ctx.threads());
  EXPECT_LE(parts, ctx.threads());
}

TEST(CpuParallel, ChunksDependOnTheSizesAlone) {
  std::vector<std::vector<std::int64_t>> bounds;
  for (const int threads : {1, 2, 5}) {
    Context ctx(ContextOptions{.threads = threads});
    std::vector<std::int64_t> ends(static_cast<std::size_t>(chunk_count(103, 10)));
    for_chunks(ctx, 103, 10, [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
      EXPECT_EQ(begin, index * 10);
      ends[static_cast<std::size_t>(index)] = end;
    });
    bounds.push_back(ends);
  }
  EXPECT_EQ(bounds[0].size(), 11u);
  EXPECT_EQ(bounds[0].back(), 103);
  EXPECT_EQ(bounds[0], bounds[1]);
  EXPECT_EQ(bounds[0], bounds[2]);
}

TEST(CpuParallel, AnExceptionReachesTheCaller) {
  for (const int threads : {1, 4}) {
    Context ctx(ContextOptions{.threads = threads});
    const auto loop = [&] {
      parallel_for(ctx, 100, [](std::int64_t i) {
        if (i == 70) throw std::runtime_error("part 70 failed");
      });
    };
    EXPECT_THROW(loop(), std::runtime_error);
  }
}

TEST(CpuParallel, ALoopInsideALoopRunsInItsThread) {
  Context ctx(ContextOptions{.threads = 2});
  std::vector<std::int64_t> sums(8);
  parallel_for(ctx, 8, [&](std::int64_t i) {
    std::int64_t sum = 0;
    parallel_for(ctx, 10, [&](std::int64_t j) { sum += j; });
    sums[static_cast<std::size_t>(i)] = sum;
  });
  EXPECT_EQ(sums, std::vector<std::int64_t>(8, 45));
}

}  // namespace
}  // namespace offramp::cpu
