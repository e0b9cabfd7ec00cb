// The linear layer as three products: cuBLASLt's where the context has it, else our tiled ones; its bias
// gradient is a sum of columns.
#include "kernels/linear.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/cublaslt_product.h"
#include "kernels/cuda/tile_product.h"
#include "kernels/reduce.h"

namespace offramp::cuda {
namespace {

struct MatrixSink {
  float* c;
  const float* bias;  // of the columns, or null
  int rows, columns;
  bool accumulate;
  __device__ void store(int /*batch*/, int row, int column, float value) const {
    if (row >= rows || column >= columns) return;
    if (bias != nullptr) value += bias[column];
    cuda::store(c + std::int64_t{row} * columns + column, value, accumulate);
  }
};

bool library_product(Context& ctx,
                     ProductProblem problem,
                     const float* a,
                     const float* b,
                     const float* bias,
                     float* c,
                     Write write) {
  if (ctx.cublaslt() == nullptr) return false;
  problem.bias = bias != nullptr;
  problem.adds = write == Write::kAccumulate;
  problem.tf32 = ctx.tf32();
  return ctx.cublaslt()->run(ctx, problem, a, b, bias, c);
}

}  // namespace

void linear_forward(
    Context& ctx, const LinearGeom& g, const float* x, const float* w, const float* bias, float* y) {
  const ProductProblem problem{.rows = g.rows, .columns = g.out, .depth = g.in};
  if (library_product(ctx, problem, x, w, bias, y, Write::kOverwrite)) return;
  tile_product(ctx,
               1,
               g.rows,
               g.out,
               whole_sum(g.in),
               LinesAlongSum<float>{x, g.rows, g.in},
               LinesAlongSum<float>{w, g.out, g.in},
               MatrixSink{y, bias, g.rows, g.out, false});
}

void linear_backward_input(
    Context& ctx, const LinearGeom& g, const float* dy, const float* w, float* dx, Write write) {
  const ProductProblem problem{.rows = g.rows, .columns = g.in, .depth = g.out, .b = Lines::kAcrossSum};
  if (library_product(ctx, problem, dy, w, nullptr, dx, write)) return;
  tile_product(ctx,
               1,
               g.rows,
               g.in,
               whole_sum(g.out),
               LinesAlongSum<float>{dy, g.rows, g.out},
               LinesAcrossSum<float>{w, g.in, g.out},
               MatrixSink{dx, nullptr, g.rows, g.in, write == Write::kAccumulate});
}

void linear_backward_weight(
    Context& ctx, const LinearGeom& g, const float* x, const float* dy, float* dw, Write write) {
  const ProductProblem problem{
      .rows = g.out, .columns = g.in, .depth = g.rows, .a = Lines::kAcrossSum, .b = Lines::kAcrossSum};
  if (library_product(ctx, problem, dy, x, nullptr, dw, write)) return;
  tile_product(ctx,
               1,
               g.out,
               g.in,
               whole_sum(g.rows),
               LinesAcrossSum<float>{dy, g.out, g.rows},
               LinesAcrossSum<float>{x, g.in, g.rows},
               MatrixSink{dw, nullptr, g.out, g.in, write == Write::kAccumulate});
}

void linear_backward_bias(Context& ctx, const LinearGeom& g, const float* dy, float* db, Write write) {
  column_sum(ctx, g.rows, g.out, dy, db, write);
}

}  // namespace offramp::cuda
