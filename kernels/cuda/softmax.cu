// Softmax family, one warp a row: a row is a class count (10 to a few hundred), read from memory once and
// from the cache after that.
#include "kernels/softmax.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/row_softmax.h"

namespace offramp::cuda {
namespace {

template <bool kLog>
__global__ void __launch_bounds__(kRowThreads)
    softmax_rows_kernel(int rows, int cols, const float* x, float* y) {
  follow();
  const int r = warp_row();
  if (r >= rows) return;
  const RowSoftmax row(cols, x + std::int64_t{r} * cols);
  for (int k = lane(); k < cols; k += 32) y[std::int64_t{r} * cols + k] = kLog ? row.log_p(k) : row.p(k);
}

// Softmax: dx = y (dy - sum y dy). Log softmax: dx = dy - exp(y) sum dy.
template <bool kLog>
__global__ void __launch_bounds__(kRowThreads) softmax_rows_backward_kernel(
    int rows, int cols, const float* y, const float* dy, float* dx, bool accumulate) {
  follow();
  const int r = warp_row();
  if (r >= rows) return;
  const std::int64_t first = std::int64_t{r} * cols;
  float sum = 0;
  for (int k = lane(); k < cols; k += 32) sum += kLog ? dy[first + k] : y[first + k] * dy[first + k];
  sum = warp_sum(sum);
  for (int k = lane(); k < cols; k += 32) {
    const float d = dy[first + k], v = y[first + k];
    store(dx + first + k, kLog ? d - expf(v) * sum : v * (d - sum), accumulate);
  }
}

__global__ void __launch_bounds__(kRowThreads)
    row_confidence_kernel(int rows, int cols, const float* logits, float* confidence, std::int32_t* argmax) {
  follow();
  const int r = warp_row();
  if (r >= rows) return;
  const RowSoftmax row(cols, logits + std::int64_t{r} * cols);
  if (lane() != 0) return;
  confidence[r] = row.confidence();
  if (argmax != nullptr) argmax[r] = row.argmax;
}

__global__ void __launch_bounds__(kRowThreads) row_confidence_backward_kernel(int rows,
                                                                              int cols,
                                                                              const float* logits,
                                                                              const float* confidence,
                                                                              const std::int32_t* argmax,
                                                                              const float* dconf,
                                                                              float* dlogits,
                                                                              bool accumulate) {
  follow();
  const int r = warp_row();
  if (r >= rows) return;
  const std::int64_t first = std::int64_t{r} * cols;
  const RowSoftmax row(cols, logits + first);
  const float slope = dconf[r] * confidence[r];
  for (int k = lane(); k < cols; k += 32) {
    store(dlogits + first + k, slope * ((k == argmax[r] ? 1.f : 0.f) - row.p(k)), accumulate);
  }
}

template <class Kernel, class... Arguments>
void launch_rows(Context& ctx, Kernel kernel, int rows, const Arguments&... arguments) {
  if (rows == 0) return;
  launch(kernel, ceil_div(rows, kRowsPerBlock), kRowThreads, 0, ctx.stream(), rows, arguments...);
}

}  // namespace

void softmax_rows(Context& ctx, int rows, int cols, const float* x, float* y) {
  launch_rows(ctx, softmax_rows_kernel<false>, rows, cols, x, y);
}
void log_softmax_rows(Context& ctx, int rows, int cols, const float* x, float* y) {
  launch_rows(ctx, softmax_rows_kernel<true>, rows, cols, x, y);
}
void softmax_rows_backward(
    Context& ctx, int rows, int cols, const float* y, const float* dy, float* dx, Write write) {
  launch_rows(ctx, softmax_rows_backward_kernel<false>, rows, cols, y, dy, dx, write == Write::kAccumulate);
}
void log_softmax_rows_backward(
    Context& ctx, int rows, int cols, const float* y, const float* dy, float* dx, Write write) {
  launch_rows(ctx, softmax_rows_backward_kernel<true>, rows, cols, y, dy, dx, write == Write::kAccumulate);
}
void row_confidence(
    Context& ctx, int rows, int cols, const float* logits, float* confidence, std::int32_t* argmax) {
  launch_rows(ctx, row_confidence_kernel, rows, cols, logits, confidence, argmax);
}
void row_confidence_backward(Context& ctx,
                             int rows,
                             int cols,
                             const float* logits,
                             const float* confidence,
                             const std::int32_t* argmax,
                             const float* dconf,
                             float* dlogits,
                             Write write) {
  launch_rows(ctx,
              row_confidence_backward_kernel,
              rows,
              cols,
              logits,
              confidence,
              argmax,
              dconf,
              dlogits,
              write == Write::kAccumulate);
}

}  // namespace offramp::cuda
