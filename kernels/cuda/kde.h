#pragma once
// Gaussian kernel density estimates on the device (specs/extraction.md 2.2):
//   f(x) = 1/(n h) sum_i exp(-((x - t_i)/h)^2 / 2) / sqrt(2 pi).
// Same bits in every run: sums of doubles in a fixed order, histograms in integers. Device only; the CPU's
// form is stats/kde.h, the way in is engine/device_algorithms.h.
#include "kernels/backend.h"

namespace offramp::cuda {

// Every pair. Exponentials in float32, sums in float64: within 2e-6 of the peak. bandwidth > 0.
void kde_direct(Context&,
                std::int64_t n,
                const double* sample,  // [n]
                std::int64_t points,
                const double* at,  // [points]
                double bandwidth,
                double* density);  // [points]

// Cells of `width` from `low` on; the sample lies in [low, low + cells * width).
struct KdeCells {
  std::int64_t cells = 0;
  double low = 0, width = 0;
};

// moments[k][c] = sum over the samples of cell c of d^k, k = 0..3, d = distance to the cell's centre in
// widths. Each power is rounded to 2^-32, so that integers add up to the same in any order. n < 2^31.
void kde_bin(Context&, std::int64_t n, const double* sample, const KdeCells&, double* moments);  // [4][cells]

// The density from the moments by the expansion of stats/kde.h to third order; kernels are cut off at `reach`
// bandwidths. n: samples in the moments.
void kde_from_cells(Context&,
                    std::int64_t n,
                    const KdeCells&,
                    const double* moments,  // [4][cells]
                    std::int64_t points,
                    const double* at,  // [points]
                    double bandwidth,
                    double reach,
                    double* density);  // [points]

}  // namespace offramp::cuda
