// What is gathered through NCCL, with a stand-in for the library (OFFRAMP_NCCL) where kernels run on the host.
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>
#include <vector>

#include "kernels/cuda/memory.h"
#include "kernels/cuda/nccl_transport.h"
#include "tests/support/thread_ranks.h"

namespace offramp::cuda {
namespace {

TEST(Nccl, TheStandInIsFound) { EXPECT_EQ(nccl_state().text.substr(0, 8), "2.22.3 ("); }

TEST(Nccl, EveryRankGetsThePartsOfAll) {
  constexpr std::size_t kRanks = 3, kFloats = 5;
  test::ThreadRanks ranks(kRanks);
  const auto thrown = ranks.run([&](Transport& host) {
    Context ctx;
    std::string why;
    const auto nccl = open_nccl(host, ctx, why);
    ASSERT_TRUE(nccl) << why;
    std::vector<float> values(kRanks * kFloats, -1.f);
    for (std::size_t i = 0; i < kFloats; ++i)
      values[static_cast<std::size_t>(host.rank()) * kFloats + i] =
          static_cast<float>(10 * host.rank()) + static_cast<float>(i);
    const std::size_t bytes = values.size() * sizeof(float);
    void* const memory = allocate(ctx, bytes, "test");
    for (int round = 0; round < 2; ++round) {
      upload(ctx, memory, values.data(), bytes);
      nccl->all_gather(memory, kFloats * sizeof(float));
      std::vector<float> all(values.size());
      download(ctx, all.data(), memory, bytes);
      for (std::size_t rank = 0; rank < kRanks; ++rank)
        for (std::size_t i = 0; i < kFloats; ++i)
          EXPECT_EQ(all[rank * kFloats + i], static_cast<float>(10 * rank + i));
    }
    release(ctx, memory);
  });
  for (const auto& error : thrown) EXPECT_FALSE(error);
}

}  // namespace
}  // namespace offramp::cuda
