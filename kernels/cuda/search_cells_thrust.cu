// The passes over the cells of the threshold search on a device: Thrust on the context's stream, its scratch from the
// context's cache.
#include "kernels/cuda/search_cells_by_thrust.h"

#include <thrust/system/cuda/execution_policy.h>
#include <thrust/system_error.h>

#include <string>

#include "base/errors.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/memory.h"

namespace offramp::cuda {
namespace {

struct Scratch {
  using value_type = char;
  CachingAllocator* from;
  char* allocate(std::ptrdiff_t bytes) {
    return static_cast<char*>(from->allocate(static_cast<std::size_t>(bytes), "scratch of Thrust"));
  }
  void deallocate(char* block, std::size_t) { from->release(block); }
};

template <class F>
auto on_device(Context& ctx, const char* what, const F& run) {
  Scratch scratch{&ctx.allocator()};
  try {
    return run(thrust::cuda::par_nosync(scratch).on(ctx.stream()));
  } catch (const thrust::system_error& error) {
    throw DeviceError(std::string(what) + ": " + error.what());
  }
}

}  // namespace

void prefix_rows(Context& ctx, std::int64_t lines, int levels, std::int32_t* count) {
  on_device(
      ctx, "prefix_rows", [&](const auto& policy) { by_thrust::prefix_rows(policy, lines, levels, count); });
}

LargestCell largest_cell(Context& ctx, std::int64_t cells, const std::int32_t* count) {
  return on_device(
      ctx, "largest_cell", [&](const auto& policy) { return by_thrust::largest_cell(policy, cells, count); });
}

std::int64_t cells_above(Context& ctx,
                         std::int64_t cells,
                         const std::int32_t* count,
                         std::int32_t floor,
                         std::int32_t capacity,
                         std::uint32_t* list) {
  return on_device(ctx, "cells_above", [&](const auto& policy) {
    return by_thrust::cells_above(policy, cells, count, floor, capacity, list);
  });
}

}  // namespace offramp::cuda
