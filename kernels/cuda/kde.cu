// Densities. Direct: a thread a point, the sample through shared memory, slices of the sample in blocks of
// their own, added up in order by one more pass. Binned: each block keeps the histogram of its slice for one
// window of cells in shared memory (four 64-bit integers a cell) and adds it to the whole when done; ranges
// of too many windows to re-read the sample for go to global memory directly, with the same integers.
#include "kernels/cuda/kde.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/context.h"
#include "kernels/cuda/device_helpers.h"

namespace offramp::cuda {
namespace {

constexpr int kThreads = 256;
constexpr double kInverseSqrt2Pi = 0.39894228040143267794, kHalfLog2e = 0.72134752044448170368;
constexpr double kUnit = 4294967296.0;  // 2^32: moments in fixed point

using Count = unsigned long long;  // two's complement: signed sums wrap to the right value

// ---- direct
constexpr int kRun = 16;  // float terms added before they go into a double: 16 * 2^-24 of the peak

__global__ void __launch_bounds__(kThreads) kde_slices_kernel(std::int64_t n,
                                                              std::int64_t slice,
                                                              const double* sample,
                                                              std::int64_t points,
                                                              const double* at,
                                                              double inverse_h,
                                                              double* sums) {  // [slices][points]
  follow();
  OFFRAMP_SHARED(double, tile, [kThreads]);
  const std::int64_t j = grid_thread();
  const double x = j < points ? at[j] : 0;
  const std::int64_t begin = block_y() * slice, end = begin + slice < n ? begin + slice : n;
  double sum = 0;
  for (std::int64_t first = begin; first < end; first += kThreads) {
    const int count = end - first < kThreads ? static_cast<int>(end - first) : kThreads;
    if (thread_x() < count) tile[thread_x()] = sample[first + thread_x()];
    __syncthreads();
    for (int run = 0; run < count; run += kRun) {
      float part = 0;
      const int stop = run + kRun < count ? run + kRun : count;
      for (int i = run; i < stop; ++i) {
        const double u = (x - tile[i]) * inverse_h;
        const double bits = fmax(-u * u * kHalfLog2e, -1000.0);  // a double so small overflows a float
        part += exp2f(static_cast<float>(bits));
      }
      sum += static_cast<double>(part);
    }
    __syncthreads();
  }
  if (j < points) sums[block_y() * points + j] = sum;
}

__global__ void __launch_bounds__(kThreads)
    kde_finish_kernel(int slices, std::int64_t points, const double* sums, double scale, double* density) {
  follow();
  const std::int64_t j = grid_thread();
  if (j >= points) return;
  double sum = 0;
  for (int s = 0; s < slices; ++s) sum += sums[s * points + j];
  density[j] = sum * scale;
}

// ---- histograms
constexpr int kWindow = 1024;    // cells of one shared histogram: 32 KiB
constexpr int kMaxWindows = 16;  // beyond it re-reading the sample costs more than contention

struct CellOf {
  std::int64_t cell;
  double d;  // from its centre, in widths
};
__device__ CellOf cell_of(double t, const KdeCells& grid) {
  const double position = (t - grid.low) / grid.width;
  auto cell = static_cast<std::int64_t>(position);
  cell = cell < 0 ? 0 : cell >= grid.cells ? grid.cells - 1 : cell;
  return {cell, position - static_cast<double>(cell) - 0.5};
}

__device__ void add_moments(Count* cell, double d) {  // cell: four counts
  double power = 1;
#pragma unroll
  for (int k = 0; k < 4; ++k, power *= d) {
    atomicAdd(cell + k, static_cast<Count>(static_cast<long long>(rint(power * kUnit))));
  }
}

__global__ void __launch_bounds__(kThreads) clear_counts_kernel(std::int64_t n, Count* counts) {
  follow();
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) counts[i] = 0;
}

__global__ void __launch_bounds__(kThreads) bin_window_kernel(
    std::int64_t n, std::int64_t slice, const double* sample, KdeCells grid, Count* counts) {
  follow();
  OFFRAMP_SHARED(Count, window, [4 * kWindow]);
  const std::int64_t first = std::int64_t{block_y()} * kWindow;
  const std::int64_t cells = grid.cells - first < kWindow ? grid.cells - first : kWindow;
  for (int i = thread_x(); i < 4 * kWindow; i += kThreads) window[i] = 0;
  __syncthreads();
  const std::int64_t begin = block_x() * slice, end = begin + slice < n ? begin + slice : n;
  for (std::int64_t i = begin + thread_x(); i < end; i += kThreads) {
    const CellOf c = cell_of(sample[i], grid);
    if (c.cell >= first && c.cell < first + cells) add_moments(&window[4 * (c.cell - first)], c.d);
  }
  __syncthreads();
  for (int i = thread_x(); i < 4 * static_cast<int>(cells); i += kThreads) {
    if (window[i] != 0) atomicAdd(&counts[4 * first + i], window[i]);
  }
}

__global__ void __launch_bounds__(kThreads)
    bin_global_kernel(std::int64_t n, const double* sample, KdeCells grid, Count* counts) {
  follow();
  for (std::int64_t i = grid_thread(); i < n; i += grid_threads()) {
    const CellOf c = cell_of(sample[i], grid);
    add_moments(&counts[4 * c.cell], c.d);
  }
}

__global__ void __launch_bounds__(kThreads)
    moments_kernel(std::int64_t cells, const Count* counts, double* moments) {
  follow();
  for (std::int64_t c = grid_thread(); c < cells; c += grid_threads()) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      moments[k * cells + c] = static_cast<double>(static_cast<long long>(counts[4 * c + k])) / kUnit;
    }
  }
}

// ---- from the cells: a warp a point
__global__ void __launch_bounds__(kThreads) kde_cells_kernel(KdeCells grid,
                                                             const double* moments,
                                                             std::int64_t points,
                                                             const double* at,
                                                             double bandwidth,
                                                             double reach,
                                                             double scale,
                                                             double* density) {
  follow();
  const std::int64_t j = grid_thread() / 32;
  if (j >= points) return;  // whole warps
  const int lane = thread_x() % 32;
  const double position = (at[j] - grid.low) / grid.width, cut = reach * bandwidth / grid.width;
  const double w = grid.width / bandwidth;
  const auto last_cell = static_cast<double>(grid.cells - 1);
  double sum = 0;
  if (position + cut >= 0 && position - cut <= last_cell + 1) {
    const auto first = static_cast<std::int64_t>(fmax(0.0, floor(position - cut)));
    const auto last = static_cast<std::int64_t>(fmin(fmax(floor(position + cut), 0.0), last_cell));
    for (std::int64_t c = first + lane; c <= last; c += 32) {
      const double u = (position - static_cast<double>(c) - 0.5) * w, u2 = u * u;
      const double m0 = moments[c], m1 = moments[grid.cells + c] * w;
      const double m2 = moments[2 * grid.cells + c] * (w * w / 2);
      const double m3 = moments[3 * grid.cells + c] * (w * w * w / 6);
      sum += exp2(-u2 * kHalfLog2e) * (m0 + m1 * u + m2 * (u2 - 1) + m3 * u * (u2 - 3));
    }
  }
  sum = warp_sum(sum);
  if (lane == 0) density[j] = sum * scale;
}

double scale_of(std::int64_t n, double bandwidth) {
  return kInverseSqrt2Pi / (static_cast<double>(n) * bandwidth);
}

unsigned blocks_for(std::int64_t n) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(ceil_div(n, 4 * kThreads), 1, 2048));
}

}  // namespace

void kde_direct(Context& ctx,
                std::int64_t n,
                const double* sample,
                std::int64_t points,
                const double* at,
                double bandwidth,
                double* density) {
  if (points == 0) return;
  constexpr std::int64_t kMaxSlices = 64, kMinSlice = 16 * kThreads;
  const std::int64_t slice = std::max(kMinSlice, ceil_div(ceil_div(n, kMaxSlices), kThreads) * kThreads);
  const int slices = static_cast<int>(ceil_div(n, slice));
  auto* sums = static_cast<double*>(
      ctx.workspace(Context::kPartials, static_cast<std::size_t>(slices * points) * sizeof(double)));
  const auto tiles = static_cast<unsigned>(ceil_div(points, kThreads));
  launch(kde_slices_kernel,
         dim3(tiles, static_cast<unsigned>(slices)),
         kThreads,
         0,
         ctx.stream(),
         n,
         slice,
         sample,
         points,
         at,
         1 / bandwidth,
         sums);
  launch(kde_finish_kernel,
         tiles,
         kThreads,
         0,
         ctx.stream(),
         slices,
         points,
         sums,
         scale_of(n, bandwidth),
         density);
}

void kde_bin(Context& ctx, std::int64_t n, const double* sample, const KdeCells& grid, double* moments) {
  auto* counts = static_cast<Count*>(
      ctx.workspace(Context::kPartials, static_cast<std::size_t>(4 * grid.cells) * sizeof(Count)));
  launch(clear_counts_kernel, blocks_for(4 * grid.cells), kThreads, 0, ctx.stream(), 4 * grid.cells, counts);
  const std::int64_t windows = ceil_div(grid.cells, kWindow);
  if (windows <= kMaxWindows) {
    constexpr std::int64_t kMaxSlices = 256, kMinSlice = 16 * kThreads;
    const std::int64_t slice = std::max(kMinSlice, ceil_div(n, kMaxSlices));
    launch(bin_window_kernel,
           dim3(static_cast<unsigned>(ceil_div(n, slice)), static_cast<unsigned>(windows)),
           kThreads,
           0,
           ctx.stream(),
           n,
           slice,
           sample,
           grid,
           counts);
  } else {
    launch(bin_global_kernel, blocks_for(n), kThreads, 0, ctx.stream(), n, sample, grid, counts);
  }
  launch(moments_kernel, blocks_for(grid.cells), kThreads, 0, ctx.stream(), grid.cells, counts, moments);
}

void kde_from_cells(Context& ctx,
                    std::int64_t n,
                    const KdeCells& grid,
                    const double* moments,
                    std::int64_t points,
                    const double* at,
                    double bandwidth,
                    double reach,
                    double* density) {
  if (points == 0) return;
  launch(kde_cells_kernel,
         static_cast<unsigned>(ceil_div(points, kThreads / 32)),
         kThreads,
         0,
         ctx.stream(),
         grid,
         moments,
         points,
         at,
         bandwidth,
         reach,
         scale_of(n, bandwidth),
         density);
}

}  // namespace offramp::cuda
