#include "engine/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "base/errors.h"

namespace offramp {
namespace {

constexpr std::size_t kMegabyte = 1u << 20;

TEST(Arena, BlocksAreAlignedWritableAndDisjoint) {
  Arena arena(64 * kMegabyte);
  std::mt19937 random(3);
  struct Block {
    unsigned char* data;
    std::size_t bytes;
    unsigned char mark;
  };
  std::vector<Block> blocks;
  for (int step = 0; step < 2000; ++step) {
    if (blocks.size() > 40 || (!blocks.empty() && random() % 3 == 0)) {
      const std::size_t i = random() % blocks.size();
      for (std::size_t k = 0; k < blocks[i].bytes; ++k) ASSERT_EQ(blocks[i].data[k], blocks[i].mark);
      arena.release(blocks[i].data);
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(i));
    }
    const std::size_t bytes = random() % 5000;
    auto* data = static_cast<unsigned char*>(arena.allocate(bytes, "test"));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 64, 0u);
    const auto mark = static_cast<unsigned char>(step);
    std::memset(data, mark, bytes);
    blocks.push_back({data, bytes, mark});
  }
  for (const Block& b : blocks) arena.release(b.data);
  EXPECT_EQ(arena.stats().live_bytes, 0u);
}

TEST(Arena, FirstFitReusesTheLowestHole) {
  Arena arena(kMegabyte);
  void* a = arena.allocate(1000, "a");
  void* b = arena.allocate(1000, "b");
  void* c = arena.allocate(1000, "c");
  arena.release(a);
  arena.release(b);
  EXPECT_EQ(arena.allocate(1500, "d"), a);  // the two holes have become one
  EXPECT_NE(c, nullptr);
}

#if defined(__SANITIZE_ADDRESS__)
// What the address sanitizer must notice: the bytes before the first use of a block, behind it, and after it
// was given back, also where the block reaches far beyond everything before it.
TEST(Arena, MemoryThatIsNotLentIsPoisoned) {
  Arena arena(256 * kMegabyte);
  std::size_t largest = 0;
  for (const std::size_t bytes : {std::size_t{100}, 40 * kMegabyte, 3 * kMegabyte, 100 * kMegabyte}) {
    auto* const data = static_cast<unsigned char*>(arena.allocate(bytes, "block"));
    EXPECT_FALSE(__asan_region_is_poisoned(data, bytes)) << bytes;
    EXPECT_TRUE(__asan_address_is_poisoned(data + (bytes + 63) / 64 * 64)) << bytes;
    arena.release(data);
    EXPECT_TRUE(__asan_address_is_poisoned(data)) << bytes;
    EXPECT_TRUE(__asan_address_is_poisoned(data + bytes - 1)) << bytes;
    largest = std::max(largest, bytes);
    EXPECT_TRUE(__asan_address_is_poisoned(data + largest + 8 * kMegabyte)) << bytes;
  }
}
#endif

TEST(Arena, TheSameCallsTouchTheSameMemoryStepAfterStep) {
  Arena arena(kMegabyte);
  std::vector<void*> first, second;
  for (auto* step : {&first, &second}) {
    for (const std::size_t bytes : {100u, 5000u, 64u, 900u}) step->push_back(arena.allocate(bytes, "t"));
    for (void* block : *step) arena.release(block);
  }
  EXPECT_EQ(first, second);
  EXPECT_EQ(arena.stats().high_water, arena.stats().peak_bytes);
}

TEST(Arena, RefusesBeyondItsLimitAndSaysWhatIsInUse) {
  Arena arena(4 * kMegabyte);
  void* kept = arena.allocate(3 * kMegabyte, "kept");
  try {
    arena.allocate(2 * kMegabyte, "conv2d");
    FAIL() << "no exception";
  } catch (const OutOfMemoryError& error) {
    EXPECT_EQ(std::string(error.what())
                  .find("memory: conv2d needs 2.1 MB, 3.1 MB of 4.2 MB are in use (the limit that was set); "
                        "use a smaller batch or network"),
              0u)
        << error.what();
  }
  EXPECT_THROW(arena.allocate(~std::size_t{0} - 100, "huge"), OutOfMemoryError);
  std::memset(kept, 1, 3 * kMegabyte);  // still ours
  arena.release(kept);
  EXPECT_NE(arena.allocate(3 * kMegabyte, "again"), nullptr);
}

TEST(Arena, ThePlanNamesTheBlocksOfThePeak) {
  Arena arena(kMegabyte);
  arena.trace_peak(true);
  void* a = arena.allocate(300000, "activations");
  void* b = arena.allocate(100000, "weights");
  arena.release(a);
  const std::string plan = arena.plan();
  EXPECT_NE(plan.find("activations"), std::string::npos) << plan;
  EXPECT_LT(plan.find("activations"), plan.find("weights")) << plan;
  arena.release(b);
}

}  // namespace
}  // namespace offramp
