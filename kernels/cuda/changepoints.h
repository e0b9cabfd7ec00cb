#pragma once
// Fearnhead's exact recursion over segments (specs/extraction.md 2.3) on the device, in log2 and float64:
//   x[i] = reduce over ends e in i+1 .. n-1 of C(len) - (a0 + len/2) log2 bn + x[e], and of last[i],
//   bn = max(b0, b0 + (S2 - S1^2/len)/2 + k0 len (mean - mu0)^2 / (2 (k0 + len))),  len = e - i,
// with the reduction a log-sum (all segmentations) or a maximum (the best one). Blocked like a triangular
// solve: far ends of a block of rows in parallel, the triangle on its diagonal by one block. Every pair is
// evaluated; same bits in every run. Device only; the CPU's form is stats/changepoint.h.
#include "kernels/backend.h"

namespace offramp::cuda {

struct SegmentTables {                   // device memory
  int n = 0;                             // points
  const double* sum = nullptr;           // [n + 1] prefix sums of the data around its mean
  const double* half_squares = nullptr;  // [n + 1] of half their squares
  const double* constant = nullptr;      // [n + 1] by length: C, the length prior included
  const double* half = nullptr;          // [n + 1] a0 + len/2
  const double* inverse = nullptr;       // [n + 1] 1 / (2 len)
  const double* weight = nullptr;        // [n + 1] k0 len / (2 (k0 + len))
  const double* last = nullptr;          // [n] log2 of the term of the segment that ends the data
  double b0 = 0, shift = 0;              // shift = mean - mu0
};

enum class SegmentReduction { kLogSum, kMaximum };

// x [n] in log2; end [n] or null: where the best first segment ends (the least among equals, n for the last
// term), written for kMaximum only.
void segment_recursion(Context&, const SegmentTables&, SegmentReduction, double* x, std::int32_t* end);

}  // namespace offramp::cuda
