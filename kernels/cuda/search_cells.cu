// The passes over the cells of the threshold search, as kernels: what host execution runs. A device has Thrust's.
#include "kernels/cuda/search_cells.h"

#include <algorithm>

#include "kernels/cuda/context.h"
#include "kernels/cuda/device_helpers.h"

namespace offramp::cuda {
namespace {

constexpr int kThreads = 256;
using Word = unsigned long long;

unsigned blocks_for(std::int64_t n) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(ceil_div(n, kThreads), 1, 4096));
}

// A value of the device, after all that was launched before.
template <class T>
T fetch(Context& ctx, const T* from) {
  T value{};
  copy_async(&value, from, sizeof value, Copy::kDeviceToHost, ctx.stream());
  synchronize_stream(ctx.stream());
  return value;
}

// A warp a line.
__global__ void __launch_bounds__(kThreads)
    prefix_rows_kernel(std::int64_t lines, int levels, std::int32_t* count) {
  follow();
  const int lane = thread_x() % 32;
  for (std::int64_t line = grid_thread() / 32; line < lines; line += grid_threads() / 32) {
    std::int32_t* row = count + line * levels;
    std::int32_t before = 0;
    for (int first = 0; first < levels; first += 32) {
      std::int32_t v = first + lane < levels ? row[first + lane] : 0;
      for (int offset = 1; offset < 32; offset *= 2) {
        const std::int32_t other = __shfl_up_sync(kAllLanes, v, static_cast<unsigned>(offset));
        if (lane >= offset) v += other;
      }
      v += before;
      if (first + lane < levels) row[first + lane] = v;
      before = __shfl_sync(kAllLanes, v, 31);
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    largest_cell_kernel(std::int64_t cells, const std::int32_t* count, Word* packed) {
  follow();
  Word best = 0;
  for (std::int64_t i = grid_thread(); i < cells; i += grid_threads()) {
    const Word here = static_cast<Word>(count[i]) << 32 | (0xffffffffull - static_cast<Word>(i));
    best = here > best ? here : best;
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    const Word other = __shfl_xor_sync(kAllLanes, best, offset);
    best = other > best ? other : best;
  }
  if (thread_x() % 32 == 0) atomicMax(packed, best);
}

__global__ void __launch_bounds__(kThreads) cells_above_kernel(std::int64_t cells,
                                                               const std::int32_t* count,
                                                               std::int32_t floor,
                                                               std::int32_t capacity,
                                                               std::uint32_t* list,
                                                               std::int32_t* found) {
  follow();
  for (std::int64_t i = grid_thread(); i < cells; i += grid_threads()) {
    if (count[i] <= floor) continue;
    const std::int32_t place = atomicAdd(found, 1);
    if (place < capacity) list[place] = static_cast<std::uint32_t>(i);
  }
}

}  // namespace

void prefix_rows(Context& ctx, std::int64_t lines, int levels, std::int32_t* count) {
  launch(prefix_rows_kernel, blocks_for(lines * 32), kThreads, 0, ctx.stream(), lines, levels, count);
}

LargestCell largest_cell(Context& ctx, std::int64_t cells, const std::int32_t* count) {
  auto* const packed = static_cast<Word*>(ctx.workspace(Context::kPartials, sizeof(Word)));
  memset_async(packed, 0, sizeof *packed, ctx.stream());
  launch(largest_cell_kernel, blocks_for(cells), kThreads, 0, ctx.stream(), cells, count, packed);
  const Word found = fetch(ctx, packed);
  return {static_cast<std::int32_t>(found >> 32),
          static_cast<std::uint32_t>(0xffffffffull - (found & 0xffffffffull))};
}

std::int64_t cells_above(Context& ctx,
                         std::int64_t cells,
                         const std::int32_t* count,
                         std::int32_t floor,
                         std::int32_t capacity,
                         std::uint32_t* list) {
  auto* const found = static_cast<std::int32_t*>(ctx.workspace(Context::kPartials, sizeof(std::int32_t)));
  memset_async(found, 0, sizeof *found, ctx.stream());
  launch(cells_above_kernel,
         blocks_for(cells),
         kThreads,
         0,
         ctx.stream(),
         cells,
         count,
         floor,
         capacity,
         list,
         found);
  return fetch(ctx, found);
}

}  // namespace offramp::cuda
