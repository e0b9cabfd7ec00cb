// Every primitive of the host execution runtime, in the three thread orders: what CUDA's manual says of it,
// computed by a plain loop.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "kernels/cuda/launch.h"
#include "tests/kernels/cuda/device_array.h"

namespace offramp::cuda {
namespace {

using host::ThreadOrder;
using test::DeviceArray;

__device__ int thread_number() {
  return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}

class Primitives : public ::testing::TestWithParam<ThreadOrder> {
 protected:
  void SetUp() override {
    before_ = host::config();
    host::config().order = GetParam();
  }
  void TearDown() override { host::config() = before_; }

 private:
  host::Config before_;
};
std::string order_name(const ::testing::TestParamInfo<ThreadOrder>& order) {
  constexpr const char* kNames[] = {"forward", "reverse", "random"};
  return kNames[static_cast<int>(order.param)];
}
INSTANTIATE_TEST_SUITE_P(Orders,
                         Primitives,
                         ::testing::Values(ThreadOrder::kForward,
                                           ThreadOrder::kReverse,
                                           ThreadOrder::kRandom),
                         order_name);

__global__ void index_kernel(int* out) {
  const auto block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const auto threads = blockDim.x * blockDim.y * blockDim.z;
  out[block * threads + static_cast<unsigned>(thread_number())] =
      static_cast<int>(block * threads) + thread_number();
}
TEST_P(Primitives, EveryThreadOfEveryBlockRunsOnce) {
  const dim3 grid(3, 2, 2), block(5, 3, 2);
  DeviceArray<int> out(3 * 2 * 2 * 5 * 3 * 2);
  launch(index_kernel, grid, block, 0, nullptr, out.data());
  std::vector<int> expected(out.size());
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(out.values(), expected);
}

__global__ void reverse_kernel(int* data, int rounds) {
  OFFRAMP_SHARED(int, tile, [64]);
  const int i = thread_number();
  for (int round = 0; round < rounds; ++round) {
    tile[i] = data[i];
    __syncthreads();
    data[i] = tile[63 - i] + 1;
    __syncthreads();
  }
}
TEST_P(Primitives, BarrierOrdersSharedMemory) {
  std::vector<int> values(64), expected(64);
  std::iota(values.begin(), values.end(), 0);
  for (int i = 0; i < 64; ++i) expected[static_cast<std::size_t>(i)] = 63 - i + 3;
  DeviceArray<int> data(values);
  launch(reverse_kernel, 1, 64, 0, nullptr, data.data(), 3);
  EXPECT_EQ(data.values(), expected);
}

__global__ void dynamic_shared_kernel(const float* x, float* y, int n) {
  OFFRAMP_DYN_SHARED(float, row);
  for (int i = thread_number(); i < n; i += static_cast<int>(blockDim.x)) row[i] = x[i];
  __syncthreads();
  for (int i = thread_number(); i < n; i += static_cast<int>(blockDim.x)) y[i] = row[n - 1 - i];
}
TEST_P(Primitives, DynamicSharedMemoryHasTheAskedSize) {
  std::vector<float> values(20000);  // 80 kB: more than the static limit
  std::iota(values.begin(), values.end(), 0.f);
  DeviceArray<float> x(values), y(values.size());
  launch(dynamic_shared_kernel, 1, 96, values.size() * sizeof(float), nullptr, x.data(), y.data(), 20000);
  std::reverse(values.begin(), values.end());
  EXPECT_EQ(y.values(), values);
}

// 20 KiB of static arrays: with 30 KiB more that nobody opted in to a device refuses the launch.
__global__ void both_shared_kernel(int* y, int n) {
  OFFRAMP_SHARED(int, fixed, [5 * 1024]);
  OFFRAMP_DYN_SHARED(int, row);
  const int i = thread_number();
  fixed[i] = i;
  row[n - 1 - i] = fixed[i];
  __syncthreads();
  y[i] = row[n - 1 - i];
}
TEST_P(Primitives, StaticAndDynamicSharedMemoryShareTheLimitWithoutOptIn) {
  DeviceArray<int> y(32);
  launch(both_shared_kernel, 1, 32, std::size_t{33} << 10, nullptr, y.data(), 33 * 256);  // opts in
  EXPECT_EQ(y.values()[31], 31);
  const auto refused = [&] {
    launch(both_shared_kernel, 1, 32, std::size_t{30} << 10, nullptr, y.data(), 30 * 256);
    static_cast<void>(y.values());
  };
  EXPECT_THROW(refused(), DeviceError);
}

__global__ void barrier_votes_kernel(const int* flags, int* out) {
  const int i = thread_number(), flag = flags[i];
  out[3 * i] = __syncthreads_count(flag);
  out[3 * i + 1] = __syncthreads_and(flag);
  out[3 * i + 2] = __syncthreads_or(flag);
}
TEST_P(Primitives, BarrierCountsAndCombinesPredicates) {
  for (const int set : {0, 1, 33, 70}) {
    std::vector<int> flags(70, 0);
    std::fill_n(flags.begin(), set, 7);
    DeviceArray<int> in(flags), out(3 * flags.size());
    launch(barrier_votes_kernel, 1, 70, 0, nullptr, in.data(), out.data());
    const std::vector<int> got = out.values();
    for (std::size_t i = 0; i < flags.size(); ++i) {
      EXPECT_EQ(got[3 * i], set);
      EXPECT_EQ(got[3 * i + 1], set == 70);
      EXPECT_EQ(got[3 * i + 2], set != 0);
    }
  }
}

__global__ void early_return_kernel(int* out) {
  if (thread_number() >= 40) return;
  __syncthreads();
  out[thread_number()] = __syncthreads_count(1);
}
TEST_P(Primitives, BarrierWaitsForTheLivingOnly) {
  DeviceArray<int> out(64);
  launch(early_return_kernel, 1, 64, 0, nullptr, out.data());
  const std::vector<int> got = out.values();
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(got[i], i < 40 ? 40 : 0);
}

enum class Shuffle { kIndex, kUp, kDown, kXor };
template <class T>
__global__ void shuffle_kernel(Shuffle kind, int argument, int width, const T* in, T* out) {
  const int i = thread_number();
  const T value = in[i];
  switch (kind) {
    case Shuffle::kIndex:
      out[i] = __shfl_sync(0xffffffffu, value, argument, width);
      return;
    case Shuffle::kUp:
      out[i] = __shfl_up_sync(0xffffffffu, value, static_cast<unsigned>(argument), width);
      return;
    case Shuffle::kDown:
      out[i] = __shfl_down_sync(0xffffffffu, value, static_cast<unsigned>(argument), width);
      return;
    case Shuffle::kXor:
      out[i] = __shfl_xor_sync(0xffffffffu, value, argument, width);
      return;
  }
}
int shuffle_source(Shuffle kind, int argument, int width, int lane) {
  const int first = lane / width * width, last = first + width - 1;
  switch (kind) {
    case Shuffle::kIndex:
      return first + argument % width;
    case Shuffle::kUp:
      return lane - argument < first ? lane : lane - argument;
    case Shuffle::kDown:
      return lane + argument > last ? lane : lane + argument;
    default:  // reading from an earlier group is allowed, from a later one is not
      return (lane ^ argument) > last ? lane : lane ^ argument;
  }
}
template <class T>
void check_shuffles() {
  std::vector<T> values(64);
  for (std::size_t i = 0; i < 64; ++i) values[i] = static_cast<T>(3 * i + 1) / static_cast<T>(2);
  DeviceArray<T> in(values);
  for (const Shuffle kind : {Shuffle::kIndex, Shuffle::kUp, Shuffle::kDown, Shuffle::kXor}) {
    for (const int width : {32, 8}) {
      for (const int argument : {0, 1, 5, 16, 31}) {
        DeviceArray<T> out(64);
        launch(shuffle_kernel<T>, 1, 64, 0, nullptr, kind, argument, width, in.data(), out.data());
        const std::vector<T> got = out.values();
        for (int i = 0; i < 64; ++i) {
          const int source = i / 32 * 32 + shuffle_source(kind, argument, width, i % 32);
          EXPECT_EQ(got[static_cast<std::size_t>(i)], values[static_cast<std::size_t>(source)])
              << "kind " << static_cast<int>(kind) << " argument " << argument << " width " << width
              << " lane " << i;
        }
      }
    }
  }
}
TEST_P(Primitives, ShufflesOfFourByteTypes) {
  check_shuffles<int>();
  check_shuffles<float>();
}
TEST_P(Primitives, ShufflesOfEightByteTypes) {
  check_shuffles<double>();
  check_shuffles<long long>();
}

__global__ void part_of_warp_kernel(int* out) {
  const int i = thread_number();
  if (i % 2 == 0) out[i] = __shfl_xor_sync(0x55555555u, i, 2);
  if (i % 2 == 1) out[i] = __shfl_xor_sync(0xaaaaaaaau, i, 4);
}
TEST_P(Primitives, DisjointMasksOfOneWarpGoOnTheirOwn) {
  DeviceArray<int> out(32);
  launch(part_of_warp_kernel, 1, 32, 0, nullptr, out.data());
  const std::vector<int> got = out.values();
  for (int i = 0; i < 32; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], i % 2 == 0 ? i ^ 2 : i ^ 4);
}

__global__ void votes_kernel(const int* flags, unsigned* out) {
  const int i = thread_number(), flag = flags[i];
  out[3 * i] = __ballot_sync(0xffffffffu, flag);
  out[3 * i + 1] = static_cast<unsigned>(__any_sync(0xffffffffu, flag));
  out[3 * i + 2] = static_cast<unsigned>(__all_sync(0xffffffffu, flag));
}
TEST_P(Primitives, VotesSeeTheirWarpOnly) {
  std::vector<int> flags(96, 0);
  for (std::size_t i = 0; i < 32; ++i) flags[i] = i % 3 == 0 ? 4 : 0;
  std::fill(flags.begin() + 64, flags.end(), 1);
  DeviceArray<int> in(flags);
  DeviceArray<unsigned> out(3 * 96);
  launch(votes_kernel, 1, 96, 0, nullptr, in.data(), out.data());
  const std::vector<unsigned> got = out.values();
  for (std::size_t i = 0; i < 96; ++i) {
    unsigned ballot = 0;
    for (std::size_t lane = 0; lane < 32; ++lane) ballot |= unsigned{flags[i / 32 * 32 + lane] != 0} << lane;
    EXPECT_EQ(got[3 * i], ballot);
    EXPECT_EQ(got[3 * i + 1], ballot != 0);
    EXPECT_EQ(got[3 * i + 2], ballot == 0xffffffffu);
  }
}

__global__ void match_kernel(const int* keys, unsigned* out) {
  const int i = thread_number();
  int all_equal = -1;
  out[3 * i] = __match_any_sync(0xffffffffu, keys[i]);
  out[3 * i + 1] = __match_all_sync(0xffffffffu, keys[i], &all_equal);
  out[3 * i + 2] = static_cast<unsigned>(all_equal);
}
TEST_P(Primitives, MatchesGroupEqualKeys) {
  std::vector<int> keys(64, 9);
  for (std::size_t i = 0; i < 32; ++i) keys[i] = static_cast<int>(i % 5) - 2;
  DeviceArray<int> in(keys);
  DeviceArray<unsigned> out(3 * 64);
  launch(match_kernel, 1, 64, 0, nullptr, in.data(), out.data());
  const std::vector<unsigned> got = out.values();
  for (std::size_t i = 0; i < 64; ++i) {
    unsigned equal = 0;
    for (std::size_t lane = 0; lane < 32; ++lane)
      equal |= unsigned{keys[i / 32 * 32 + lane] == keys[i]} << lane;
    EXPECT_EQ(got[3 * i], equal);
    EXPECT_EQ(got[3 * i + 1], i < 32 ? 0u : 0xffffffffu);
    EXPECT_EQ(got[3 * i + 2], i < 32 ? 0u : 1u);
  }
}

__global__ void reduce_kernel(const int* in, int* out) {
  const int i = thread_number();
  out[3 * i] = __reduce_add_sync(0xffffffffu, in[i]);
  out[3 * i + 1] = __reduce_max_sync(0xffffffffu, in[i]);
  out[3 * i + 2] = __reduce_min_sync(0xffffffffu, in[i]);
}
TEST_P(Primitives, WarpReductionsOfIntegers) {
  std::vector<int> values(32);
  for (int i = 0; i < 32; ++i) values[static_cast<std::size_t>(i)] = i * 37 % 32 - 20;
  DeviceArray<int> in(values), out(96);
  launch(reduce_kernel, 1, 32, 0, nullptr, in.data(), out.data());
  const std::vector<int> got = out.values();
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(got[3 * i], std::accumulate(values.begin(), values.end(), 0));
    EXPECT_EQ(got[3 * i + 1], *std::max_element(values.begin(), values.end()));
    EXPECT_EQ(got[3 * i + 2], *std::min_element(values.begin(), values.end()));
  }
}

__global__ void warp_exchange_kernel(int* out) {
  OFFRAMP_SHARED(int, slot, [32]);
  const int i = thread_number();
  slot[i] = i;
  __syncwarp();
  out[i] = slot[31 - i];
}
TEST_P(Primitives, SyncwarpOrdersMemoryOfItsLanes) {
  DeviceArray<int> out(32);
  launch(warp_exchange_kernel, 1, 32, 0, nullptr, out.data());
  const std::vector<int> got = out.values();
  for (int i = 0; i < 32; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], 31 - i);
}

__global__ void absent_lane_kernel(int* out) { out[thread_number()] = __shfl_sync(0xffffffffu, 5, 20); }
TEST_P(Primitives, ShuffleFromALaneThatIsNotThereGivesPoison) {
  DeviceArray<int> out(10);
  launch(absent_lane_kernel, 1, 10, 0, nullptr, out.data());
  EXPECT_EQ(out.values(), std::vector<int>(10, -1));
}

template <class T>
__global__ void add_kernel(T* sum, T value) {
  atomicAdd(sum, value);
}
TEST_P(Primitives, AtomicAddCountsEveryThread) {
  DeviceArray<int> i(1);
  DeviceArray<unsigned> u(1);
  DeviceArray<unsigned long long> ull(1);
  DeviceArray<float> f(1);
  DeviceArray<double> d(1);
  launch(add_kernel<int>, 3, 50, 0, nullptr, i.data(), -2);
  launch(add_kernel<unsigned>, 3, 50, 0, nullptr, u.data(), 2u);
  launch(add_kernel<unsigned long long>, 3, 50, 0, nullptr, ull.data(), 1ull << 40);
  launch(add_kernel<float>, 3, 50, 0, nullptr, f.data(), 0.5f);
  launch(add_kernel<double>, 3, 50, 0, nullptr, d.data(), 0.25);
  EXPECT_EQ(i.values()[0], -300);
  EXPECT_EQ(u.values()[0], 300u);
  EXPECT_EQ(ull.values()[0], 150ull << 40);
  EXPECT_EQ(f.values()[0], 75.f);
  EXPECT_EQ(d.values()[0], 37.5);
}

__global__ void atomics_kernel(int* out, unsigned* bits) {
  const int i = thread_number();
  atomicMax(&out[0], i);
  atomicMin(&out[1], i);
  atomicExch(&out[2], 77);
  for (int old = out[4], seen = -1; seen != old;) {  // a maximum by hand; out[4] is not written
    seen = old;
    old = atomicCAS(&out[3], seen, seen < i ? i : seen);
  }
  atomicOr(&bits[0], 1u << i % 32);
  atomicAnd(&bits[1], ~(1u << i % 32));
}
TEST_P(Primitives, OtherAtomics) {
  DeviceArray<int> out(std::vector<int>{-1, 1000, 0, 0, 0});
  DeviceArray<unsigned> bits(std::vector<unsigned>{0, 0xffffffffu});
  launch(atomics_kernel, 1, 20, 0, nullptr, out.data(), bits.data());
  EXPECT_EQ(out.values(), (std::vector<int>{19, 0, 77, 19, 0}));
  EXPECT_EQ(bits.values(), (std::vector<unsigned>{0xfffffu, 0xfff00000u}));
}

__global__ void last_block_kernel(int* parts, unsigned* arrived, int* total) {
  OFFRAMP_SHARED(unsigned, is_last, [1]);
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
    __threadfence();
    is_last[0] = atomicAdd(arrived, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (is_last[0] != 0 && threadIdx.x == 0) {
    int sum = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) sum += parts[b];
    *total = sum;
  }
}
TEST_P(Primitives, FenceAndCounterLetTheLastBlockSeeTheOthers) {
  DeviceArray<int> parts(9), total(1);
  DeviceArray<unsigned> arrived(1);
  launch(last_block_kernel, 9, 40, 0, nullptr, parts.data(), arrived.data(), total.data());
  EXPECT_EQ(total.values()[0], 45);
}

TEST_P(Primitives, SeveralWorkersGiveTheSameResult) {
  host::config().workers = 3;
  DeviceArray<int> out(60 * 30);
  launch(index_kernel, dim3(60), dim3(30), 0, nullptr, out.data());
  std::vector<int> expected(out.size());
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(out.values(), expected);
}

__global__ void order_kernel(int* order, int* next) {
  const int place = (*next)++;
  order[place] = thread_number();
}
TEST(ThreadOrders, AreWhatTheirNamesSay) {
  if (host::kRaceChecked) GTEST_SKIP() << "the kernel that shows the order races by design";
  const host::Config before = host::config();
  std::vector<int> forward(100), reverse(100);
  std::iota(forward.begin(), forward.end(), 0);
  std::reverse_copy(forward.begin(), forward.end(), reverse.begin());
  const auto observed = [](ThreadOrder order, std::uint64_t seed) {
    host::config().order = order;
    host::config().seed = seed;
    DeviceArray<int> out(100), next(1);
    launch(order_kernel, 1, 100, 0, nullptr, out.data(), next.data());
    return out.values();
  };
  EXPECT_EQ(observed(ThreadOrder::kForward, 1), forward);
  EXPECT_EQ(observed(ThreadOrder::kReverse, 1), reverse);
  host::config() = before;
}

__global__ void order_after_barrier_kernel(int* order, int* next) {
  __syncthreads();
  const int place = (*next)++;
  order[place] = thread_number();
}
TEST(ThreadOrders, RandomDependsOnTheSeedOnly) {
  if (host::kRaceChecked) GTEST_SKIP() << "the kernel that shows the order races by design";
  const host::Config before = host::config();
  host::config().order = ThreadOrder::kRandom;
  const auto observed = [](std::uint64_t seed) {
    host::config().seed = seed;
    DeviceArray<int> out(100), next(1);
    launch(order_after_barrier_kernel, 1, 100, 0, nullptr, out.data(), next.data());
    return out.values();
  };
  const std::vector<int> first = observed(1), other = observed(2);
  EXPECT_EQ(first, observed(1));
  EXPECT_NE(first, other);
  std::vector<int> sorted = first;
  std::sort(sorted.begin(), sorted.end());
  std::vector<int> all(100);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(sorted, all);
  host::config() = before;
}

}  // namespace
}  // namespace offramp::cuda
