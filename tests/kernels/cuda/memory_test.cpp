// The context's scratch and the caching allocator.
#include "kernels/cuda/memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <vector>

#include "base/errors.h"
#include "kernels/elementwise.h"
#include "tests/support/backends.h"
#if defined(OFFRAMP_CUDA_HOST)
#include "kernels/cuda/host/config.h"
#endif

namespace offramp::cuda {
namespace {

class CudaMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_F(CudaMemory, AReleasedBlockIsReusedWithoutTheRuntime) {
  CachingAllocator allocator(CachingAllocator::Reuse::kStreamOrdered);
  void* first = allocator.allocate(1000, "first");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 256, 0u);
  void* second = allocator.allocate(1000, "second");
  EXPECT_NE(first, second);
  allocator.release(first);
  EXPECT_EQ(allocator.stats().cached_bytes, 1024u);
  EXPECT_EQ(allocator.allocate(900, "third"), first);
  const CachingAllocator::Stats stats = allocator.stats();
  EXPECT_EQ(stats.live_bytes, 1900u);
  EXPECT_EQ(stats.peak_bytes, 2000u);
  EXPECT_EQ(stats.allocations, 3);
  EXPECT_EQ(stats.runtime_allocations, 2);
  allocator.release(first);
  allocator.empty_cache();
  EXPECT_EQ(allocator.stats().cached_bytes, 0u);
  allocator.release(nullptr);
}

TEST_F(CudaMemory, RoundingLosesAtMostAnEighth) {
  EXPECT_EQ(CachingAllocator::rounded(0), 512u);
  EXPECT_EQ(CachingAllocator::rounded(513), 1024u);
  EXPECT_EQ(CachingAllocator::rounded(std::size_t{1} << 20), std::size_t{1} << 20);
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 40); bytes = bytes * 5 / 2 + 1) {
    const std::size_t held = CachingAllocator::rounded(bytes);
    EXPECT_GE(held, bytes);
    EXPECT_LE(held - bytes, std::max<std::size_t>(511, bytes / 8)) << bytes;
    EXPECT_EQ(held % 256, 0u);
  }
}

TEST_F(CudaMemory, ABlockOfNoBytesIsDistinct) {
  CachingAllocator allocator(CachingAllocator::Reuse::kNever);
  void* a = allocator.allocate(0, "a");
  void* b = allocator.allocate(0, "b");
  EXPECT_NE(a, nullptr);
  EXPECT_NE(a, b);
  allocator.release(a);
  allocator.release(b);
  EXPECT_EQ(allocator.stats().live_bytes, 0u);
}

TEST_F(CudaMemory, ScratchGrowsAndOldScratchStays) {
  Context ctx;
  void* small = ctx.workspace(Context::kPartials, 100);
  EXPECT_EQ(ctx.workspace(Context::kPartials, 60), small);
  EXPECT_NE(ctx.workspace(Context::kCoefficients, 100), small);
  void* large = ctx.workspace(Context::kPartials, 101);
  EXPECT_NE(large, small);
  EXPECT_EQ(ctx.workspace(Context::kPartials, 200), large) << "grows to twice the size";
  EXPECT_EQ(ctx.workspace_bytes(), 100u + 100u + 200u);
}

TEST_F(CudaMemory, ScratchMayNotGrowWhileAStepIsCaptured) {
  Context ctx;
  ctx.workspace(Context::kPartials, 100);
  begin_capture(ctx.stream());
  EXPECT_NO_THROW(ctx.workspace(Context::kPartials, 100));
  EXPECT_THROW(ctx.workspace(Context::kPartials, 101), DeviceError);
  destroy_graph(end_capture(ctx.stream()));
}

TEST_F(CudaMemory, AWrongDeviceIsNamed) {
  try {
    Context ctx(ContextOptions{.device = 99});
    FAIL();
  } catch (const DeviceError& error) {
    EXPECT_NE(std::string(error.what()).find("cuda: expected a device from 0 to "), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("got 99"), std::string::npos);
  }
}

TEST_F(CudaMemory, AnotherThreadMayUseTheContext) {
#if defined(OFFRAMP_CUDA_HOST)
  host::config().devices = 2;  // so that the thread's own device is another
  const int last = 1;
#else
  const int last = device_count() - 1;
#endif
  {
    Context ctx(ContextOptions{.device = last, .conv = ConvBackend::kNative});
    std::string failure;
    std::thread([&] {
      try {
        const std::vector<float> there{1, -2, 3};
        std::vector<float> back(3);
        auto* x = static_cast<float*>(allocate(ctx, 12, "x"));
        upload(ctx, x, there.data(), 12);
        relu_forward(ctx, 3, x, x);
        download(ctx, back.data(), x, 12);
        release(ctx, x);
        if (back != std::vector<float>{1, 0, 3}) failure = "wrong values";
      } catch (const DeviceError& error) {
        failure = error.what();
      }
    }).join();
    EXPECT_EQ(failure, "");
  }
#if defined(OFFRAMP_CUDA_HOST)
  host::config().devices = 1;
#endif
}

TEST_F(CudaMemory, APoolKeepsItsBlocksToItself) {
  for (const auto reuse : {CachingAllocator::Reuse::kStreamOrdered, CachingAllocator::Reuse::kNever}) {
    CachingAllocator allocator(reuse);
    const int pool = allocator.make_pool();
    allocator.enter_pool(pool, CachingAllocator::Growth::kAllowed);
    void* block = allocator.allocate(1000, "of the pool");
    allocator.leave_pool();
    allocator.release(block);  // goes back to the pool, although nobody is in it
    void* other = allocator.allocate(1000, "shared");
    EXPECT_NE(other, block);
    allocator.enter_pool(pool, CachingAllocator::Growth::kRefused);
    EXPECT_EQ(allocator.allocate(1000, "again"), block);
    try {
      static_cast<void>(allocator.allocate(1000, "weights"));
      FAIL() << "the pool has no second block";
    } catch (const DeviceError& error) {
      EXPECT_STREQ(
          error.what(),
          "cuda: 1000 bytes for weights are asked for while a step is captured, and its pool has no such "
          "block; a captured step must ask for the same memory each time");
    }
    allocator.leave_pool();
    allocator.drop_pool(pool);
    allocator.release(block);  // after its pool
    allocator.release(other);
    EXPECT_EQ(allocator.stats().live_bytes, 0u);
  }
}

TEST_F(CudaMemory, UploadsMayReuseTheirSourceAtOnce) {
  Context ctx;
  constexpr int kUploads = 9, kValues = 50;  // more than the ring has blocks
  auto* device = static_cast<int*>(allocate(ctx, kUploads * kValues * sizeof(int), "test"));
  std::vector<int> source(kValues);
  for (int i = 0; i < kUploads; ++i) {
    const int count = kValues - i % 3;
    for (int& v : source) v = i;
    upload(ctx, device + i * kValues, source.data(), static_cast<std::size_t>(count) * sizeof(int));
  }
  std::vector<int> back(kUploads * kValues);
  download(ctx, back.data(), device, back.size() * sizeof(int));
  for (int i = 0; i < kUploads; ++i) EXPECT_EQ(back[static_cast<std::size_t>(i * kValues)], i);
  release(ctx, device);
}

}  // namespace
}  // namespace offramp::cuda
