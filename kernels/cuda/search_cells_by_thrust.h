#pragma once
// The passes of search_cells.h as Thrust's algorithms, for any of its execution policies: the device's (par_nosync on a
// stream), or one processor's, against which tests hold our kernels.
#include <thrust/copy.h>
#include <thrust/count.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>
#include <thrust/scan.h>
#include <thrust/transform_reduce.h>

#include <cstdint>

#include "kernels/cuda/search_cells.h"

namespace offramp::cuda::by_thrust {

struct LineOf {
  std::int64_t levels;
  _CCCL_HOST_DEVICE std::int64_t operator()(std::int64_t cell) const { return cell / levels; }
};

// (count << 32) | (2^32 - 1 - cell): its maximum is the first cell of the largest count.
struct Packed {
  const std::int32_t* count;
  _CCCL_HOST_DEVICE std::uint64_t operator()(std::int64_t cell) const {
    return static_cast<std::uint64_t>(count[cell]) << 32 | (0xffffffffull - static_cast<std::uint64_t>(cell));
  }
};

struct Larger {
  _CCCL_HOST_DEVICE std::uint64_t operator()(std::uint64_t a, std::uint64_t b) const { return a < b ? b : a; }
};

struct Above {
  std::int32_t floor;
  _CCCL_HOST_DEVICE bool operator()(std::int32_t count) const { return count > floor; }
};

template <class Policy>
void prefix_rows(const Policy& policy, std::int64_t lines, int levels, std::int32_t* count) {
  const auto line =
      thrust::make_transform_iterator(thrust::counting_iterator<std::int64_t>(0), LineOf{levels});
  thrust::inclusive_scan_by_key(policy, line, line + lines * levels, count, count);
}

template <class Policy>
LargestCell largest_cell(const Policy& policy, std::int64_t cells, const std::int32_t* count) {
  const thrust::counting_iterator<std::int64_t> first(0);
  const std::uint64_t packed =
      thrust::transform_reduce(policy, first, first + cells, Packed{count}, std::uint64_t{0}, Larger{});
  return {static_cast<std::int32_t>(packed >> 32),
          static_cast<std::uint32_t>(0xffffffffull - (packed & 0xffffffffull))};
}

template <class Policy>
std::int64_t cells_above(const Policy& policy,
                         std::int64_t cells,
                         const std::int32_t* count,
                         std::int32_t floor,
                         std::int32_t capacity,
                         std::uint32_t* list) {
  const auto found = static_cast<std::int64_t>(thrust::count_if(policy, count, count + cells, Above{floor}));
  if (found <= capacity) {
    const thrust::counting_iterator<std::uint32_t> first(0);
    thrust::copy_if(policy, first, first + cells, count, list, Above{floor});
  }
  return found;
}

}  // namespace offramp::cuda::by_thrust
