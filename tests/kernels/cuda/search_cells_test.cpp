// The passes over the cells of the threshold search against plain loops, and Thrust's form of them on one processor
// against both.
#include "kernels/cuda/search_cells.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "kernels/cuda/context.h"
#include "tests/kernels/cuda/device_array.h"
#ifdef OFFRAMP_HAS_CCCL
#include <thrust/system/cpp/execution_policy.h>

#include "kernels/cuda/search_cells_by_thrust.h"
#endif

namespace offramp {
namespace {

using Counts = std::vector<std::int32_t>;

Counts drawn(std::size_t n, std::int32_t most, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  Counts count(n);
  for (auto& c : count) c = static_cast<std::int32_t>(rng() % (static_cast<std::uint64_t>(most) + 1));
  return count;
}

Counts plain_prefix(Counts count, int levels) {
  for (std::size_t i = 0; i < count.size(); ++i)
    if (i % static_cast<std::size_t>(levels) != 0) count[i] += count[i - 1];
  return count;
}
cuda::LargestCell plain_largest(const Counts& count) {
  const auto at = std::max_element(count.begin(), count.end());
  return {*at, static_cast<std::uint32_t>(at - count.begin())};
}
std::vector<std::uint32_t> plain_above(const Counts& count, std::int32_t floor) {
  std::vector<std::uint32_t> cells;
  for (std::size_t i = 0; i < count.size(); ++i)
    if (count[i] > floor) cells.push_back(static_cast<std::uint32_t>(i));
  return cells;
}

// What is tested: the context's own form, or Thrust's on one processor.
struct OnDevice {
  cuda::Context ctx;
  Counts prefix(const Counts& count, int levels) {
    test::DeviceArray<std::int32_t> on(count);
    cuda::synchronize_device();
    cuda::prefix_rows(ctx, static_cast<std::int64_t>(count.size()) / levels, levels, on.data());
    cuda::synchronize_stream(ctx.stream());
    return on.values();
  }
  cuda::LargestCell largest(const Counts& count) {
    test::DeviceArray<std::int32_t> on(count);
    cuda::synchronize_device();
    return cuda::largest_cell(ctx, static_cast<std::int64_t>(count.size()), on.data());
  }
  std::int64_t above(const Counts& count, std::int32_t floor, std::vector<std::uint32_t>& list) {
    test::DeviceArray<std::int32_t> on(count);
    test::DeviceArray<std::uint32_t> cells(list);
    cuda::synchronize_device();
    const auto found = cuda::cells_above(ctx,
                                         static_cast<std::int64_t>(count.size()),
                                         on.data(),
                                         floor,
                                         static_cast<std::int32_t>(list.size()),
                                         cells.data());
    list = cells.values();
    return found;
  }
};

#ifdef OFFRAMP_HAS_CCCL
struct ByThrust {
  Counts prefix(Counts count, int levels) {
    cuda::by_thrust::prefix_rows(
        thrust::cpp::par, static_cast<std::int64_t>(count.size()) / levels, levels, count.data());
    return count;
  }
  cuda::LargestCell largest(const Counts& count) {
    return cuda::by_thrust::largest_cell(
        thrust::cpp::par, static_cast<std::int64_t>(count.size()), count.data());
  }
  std::int64_t above(const Counts& count, std::int32_t floor, std::vector<std::uint32_t>& list) {
    return cuda::by_thrust::cells_above(thrust::cpp::par,
                                        static_cast<std::int64_t>(count.size()),
                                        count.data(),
                                        floor,
                                        static_cast<std::int32_t>(list.size()),
                                        list.data());
  }
};
#endif

template <class Form>
class SearchCells : public testing::Test {};
#ifdef OFFRAMP_HAS_CCCL
using Forms = testing::Types<OnDevice, ByThrust>;
#else
using Forms = testing::Types<OnDevice>;
#endif
TYPED_TEST_SUITE(SearchCells, Forms);

TYPED_TEST(SearchCells, PrefixSumsOfRows) {
  TypeParam form;
  for (const int levels : {1, 2, 31, 32, 33, 257, 1000}) {
    for (const int lines : {1, 3, 70}) {
      Counts count =
          drawn(static_cast<std::size_t>(lines * levels), 9, static_cast<std::uint64_t>(levels + lines));
      for (auto& c : count) c -= 4;  // changes of a histogram: of both signs
      EXPECT_EQ(form.prefix(count, levels), plain_prefix(count, levels)) << lines << " lines of " << levels;
    }
  }
}

TYPED_TEST(SearchCells, LargestCountAndItsFirstCell) {
  TypeParam form;
  for (const std::size_t n : {1, 2, 63, 64, 1000, 70001}) {
    for (const std::int32_t most : {0, 3, 2147483647}) {  // 3: many cells share the largest
      const Counts count = drawn(n, most, n);
      const cuda::LargestCell found = form.largest(count), plain = plain_largest(count);
      EXPECT_EQ(found.count, plain.count) << n;
      EXPECT_EQ(found.cell, plain.cell) << n;
    }
  }
}

TYPED_TEST(SearchCells, CellsAbove) {
  TypeParam form;
  for (const std::size_t n : {1, 33, 5000}) {
    const Counts count = drawn(n, 99, n + 7);
    for (const std::int32_t floor : {-1, 50, 98, 99}) {
      const auto plain = plain_above(count, floor);
      std::vector<std::uint32_t> list(n, 77);
      ASSERT_EQ(form.above(count, floor, list), static_cast<std::int64_t>(plain.size()));
      list.resize(plain.size());
      std::sort(list.begin(), list.end());
      EXPECT_EQ(list, plain) << n << " above " << floor;
    }
  }
}

TYPED_TEST(SearchCells, MoreThanTheListHoldsAreCountedAlone) {
  TypeParam form;
  const Counts count(1000, 5);
  std::vector<std::uint32_t> list(10, 77);
  EXPECT_EQ(form.above(count, 4, list), 1000);
  ASSERT_EQ(list.size(), 10u);
}

}  // namespace
}  // namespace offramp
