#include "kernels/cuda/parts.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/device_helpers.h"

namespace offramp::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    add_parts_kernel(std::int64_t n, int parts, const float* part, float* out, bool accumulate) {
  follow();
  const std::int64_t i = grid_thread();
  if (i >= n) return;
  float sum = part[i];
#pragma unroll 8
  for (int p = 1; p < parts; ++p) sum += part[p * n + i];
  store(out + i, sum, accumulate);
}

}  // namespace

void add_parts(Context& ctx, std::int64_t n, int parts, const float* part, float* out, Write write) {
  if (n == 0) return;
  launch(add_parts_kernel,
         static_cast<unsigned>(ceil_div(n, kThreads)),
         kThreads,
         0,
         ctx.stream(),
         n,
         parts,
         part,
         out,
         write == Write::kAccumulate);
}

}  // namespace offramp::cuda
