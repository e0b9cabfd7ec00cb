#include <algorithm>
#include <cmath>
#include <string>

#include "engine/device_algorithms.h"
#include "engine/device_algorithms/device_buffer.h"
#include "kernels/cuda/kde.h"

namespace offramp::device_algorithms {
namespace {

std::int64_t count_of(std::span<const double> values) { return static_cast<std::int64_t>(values.size()); }

void check_density(const char* what, std::span<const double> sample, double bandwidth) {
  if (sample.empty() || sample.size() >= std::size_t{1} << 31) {
    throw ValueError(std::string(what) + ": 1 to 2^31 - 1 samples wanted, got " +
                     std::to_string(sample.size()));
  }
  if (!(bandwidth > 0) || !std::isfinite(bandwidth)) {
    throw ValueError(std::string(what) + ": the bandwidth must be positive and finite, got " +
                     std::to_string(bandwidth));
  }
}

}  // namespace

std::vector<double> kde_direct(const Device& device,
                               std::span<const double> sample,
                               std::span<const double> points,
                               double bandwidth) {
  require_cuda("kde_direct", device);
  check_density("kde_direct", sample, bandwidth);
  const Buffer<double> t(device, sample), at(device, points), density(device, points.size());
  cuda::kde_direct(device.cuda_context(),
                   count_of(sample),
                   t.data(),
                   count_of(points),
                   at.data(),
                   bandwidth,
                   density.data());
  return density.values();
}

std::vector<double> kde_cells(const Device& device,
                              std::span<const double> sample,
                              std::span<const double> points,
                              double bandwidth,
                              double cell_width,
                              double reach) {
  require_cuda("kde_cells", device);
  check_density("kde_cells", sample, bandwidth);
  constexpr double kMaxCells = 1 << 20;
  const auto [low, high] = std::minmax_element(sample.begin(), sample.end());
  if (!(cell_width > 0) || !((*high - *low) / cell_width + 2 <= kMaxCells)) {
    throw ValueError("kde_cells: the range must hold at most 2^20 cells, got " +
                     std::to_string((*high - *low) / cell_width + 2));
  }
  const cuda::KdeCells grid{
      .cells = static_cast<std::int64_t>((*high - *low) / cell_width) + 2, .low = *low, .width = cell_width};
  const Buffer<double> t(device, sample), at(device, points), density(device, points.size());
  const Buffer<double> moments(device, static_cast<std::size_t>(4 * grid.cells));
  cuda::kde_bin(device.cuda_context(), count_of(sample), t.data(), grid, moments.data());
  cuda::kde_from_cells(device.cuda_context(),
                       count_of(sample),
                       grid,
                       moments.data(),
                       count_of(points),
                       at.data(),
                       bandwidth,
                       reach,
                       density.data());
  return density.values();
}

}  // namespace offramp::device_algorithms
