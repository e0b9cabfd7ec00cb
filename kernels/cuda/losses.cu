// Losses, one warp a row of logits: softmax, loss and gradient while the row is in the cache. All exits of a
// sample are done by one warp, so that the strategy hinge, which couples them, costs no second pass. Sums
// over samples: terms are written out and added by one block in order, in double.
#include "kernels/losses.h"

#include <cmath>

#include "kernels/assert.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/row_softmax.h"

namespace offramp::cuda {
namespace {

constexpr int kFinishThreads = 256;
constexpr float kClamp = 1e-8f;  // of v in KL(p || v), extraction 3.1

// What one row is compared with.
struct Target {
  TargetLoss kind;
  int label;
  const float* v;
};

// NaN stays NaN, which fmaxf does not leave.
__device__ float at_least_clamp(float v) { return v < kClamp ? kClamp : v; }

// The part of class k in the loss.
__device__ float term_of(const RowSoftmax& row, const Target& target, int k) {
  const float log_p = row.log_p(k), v = target.v[k];
  switch (target.kind) {
    case TargetLoss::kKlTargetFirst:
      return v > 0.f ? v * (logf(v) - log_p) : v * -log_p;
    case TargetLoss::kKlOutputFirst:
      return expf(log_p) * (log_p - logf(at_least_clamp(v)));
    default:
      return -v * log_p;
  }
}

__device__ float loss_of(const RowSoftmax& row, const Target& target) {  // every lane gets it
  if (target.kind == TargetLoss::kCrossEntropy) {
    if (target.label < 0 || target.label >= row.classes) return NAN;
    return row.log_sum - (row.z[target.label] - row.max);
  }
  float loss = 0;
  for (int k = lane(); k < row.classes; k += 32) loss += term_of(row, target, k);
  return warp_sum(loss);
}

// dz = scale * (gradient of the loss) + slope * c * (delta(k, argmax) - p_k).
__device__ void write_gradient(
    const RowSoftmax& row, const Target& target, float loss, float scale, float slope, float* dz) {
  const float pull = slope * row.confidence();
  for (int k = lane(); k < row.classes; k += 32) {
    const float p = row.p(k);
    float g = p;
    if (target.kind == TargetLoss::kKlOutputFirst) {
      g = p * (row.log_p(k) - logf(at_least_clamp(target.v[k])) - loss);
    } else if (target.kind != TargetLoss::kCrossEntropy) {
      g = p - target.v[k];
    } else if (k == target.label) {
      g = p - 1.f;
    }
    dz[k] = scale * g - pull * p + (k == row.argmax ? pull : 0.f);
  }
}

__global__ void __launch_bounds__(kRowThreads) row_losses_kernel(TargetLoss kind,
                                                                 int rows,
                                                                 int classes,
                                                                 const float* logits,
                                                                 const std::int32_t* labels,
                                                                 const float* targets,
                                                                 float* row_loss,
                                                                 float scale,
                                                                 float* dlogits) {
  follow();
  const int r = warp_row();
  if (r >= rows) return;
  const std::int64_t first = std::int64_t{r} * classes;
  const RowSoftmax row(classes, logits + first);
  const Target target{
      kind, labels != nullptr ? labels[r] : -1, targets != nullptr ? targets + first : nullptr};
  const float loss = loss_of(row, target);
  if (lane() == 0) row_loss[r] = loss;
  if (dlogits != nullptr) write_gradient(row, target, loss, scale, 0.f, dlogits + first);
}

void row_losses(Context& ctx,
                TargetLoss kind,
                int rows,
                int classes,
                const float* logits,
                const std::int32_t* labels,
                const float* targets,
                float* row_loss,
                float scale,
                float* dlogits) {
  if (rows == 0) return;
  launch(row_losses_kernel,
         ceil_div(rows, kRowsPerBlock),
         kRowThreads,
         0,
         ctx.stream(),
         kind,
         rows,
         classes,
         logits,
         labels,
         targets,
         row_loss,
         scale,
         dlogits);
}

// ---- strategy loss

// Of one (sample, exit) pair: how deep its hinge is and the sign of its slope, 0 where inactive.
struct Hinge {
  float depth, slope;
};
__device__ Hinge hinge_of(const StrategyParams& p, int num_exits, int exit, int leaves_at, float confidence) {
  if (exit > leaves_at || (exit == num_exits && !p.last_exit_term)) return {0.f, 0.f};
  const float depth = exit < leaves_at ? confidence - p.phi2 : p.phi1 - confidence;
  if (depth <= 0.f) return {0.f, 0.f};
  return {depth, exit < leaves_at ? 1.f : -1.f};
}

// counts[e]: samples that left at exit e (1-based). One block.
__global__ void __launch_bounds__(kFinishThreads)
    count_exits_kernel(int num_exits, int n, const std::int32_t* exits, int* counts) {
  follow();
  OFFRAMP_SHARED(int, count, [kMaxExits + 1]);
  if (thread_x() <= kMaxExits) count[thread_x()] = 0;
  __syncthreads();
  for (int i = thread_x(); i < n; i += kFinishThreads) {
    if (exits[i] >= 1 && exits[i] <= num_exits) atomicAdd(&count[exits[i]], 1);
  }
  __syncthreads();
  if (thread_x() <= kMaxExits) counts[thread_x()] = count[thread_x()];
}

// Weight of a sample's strategy loss, by the exit that it left at; NaN for an exit that does not exist.
__device__ float sample_weight(const StrategyParams& p, int num_exits, int n, const int* counts, int exit) {
  if (exit < 1 || exit > num_exits) return NAN;
  return 1.f / static_cast<float>(p.mean == HingeMean::kBatch ? n : counts[exit]);
}

int* counted_exits(Context& ctx, const StrategyParams& p, int num_exits, int n, const std::int32_t* exits) {
  auto* counts = static_cast<int*>(ctx.workspace(Context::kCoefficients, (kMaxExits + 1) * sizeof(int)));
  if (p.mean == HingeMean::kPerExit) {
    launch(count_exits_kernel, 1, kFinishThreads, 0, ctx.stream(), num_exits, n, exits, counts);
  }
  return counts;
}

// One block: a thread takes whole samples.
__global__ void __launch_bounds__(kFinishThreads) strategy_loss_kernel(int num_exits,
                                                                       int n,
                                                                       const float* confidence,
                                                                       const std::int32_t* exits,
                                                                       StrategyParams params,
                                                                       const int* counts,
                                                                       float* loss,
                                                                       float* dconfidence) {
  follow();
  double total = 0;
  for (int i = thread_x(); i < n; i += kFinishThreads) {
    const float weight = sample_weight(params, num_exits, n, counts, exits[i]);
    double sample = 0;
    for (int exit = 1; exit <= num_exits; ++exit) {
      const std::int64_t at = std::int64_t{exit - 1} * n + i;
      const Hinge hinge = hinge_of(params, num_exits, exit, exits[i], confidence[at]);
      sample += static_cast<double>(hinge.depth);
      if (dconfidence != nullptr) dconfidence[at] = hinge.slope * weight;
    }
    total += static_cast<double>(weight) * sample;
  }
  total = block_sum<kFinishThreads>(total);
  if (thread_x() == 0) *loss = static_cast<float>(total);
}

// ---- all exits at once

// terms: [num_exits + 1, n]: the target loss of each exit, then the weighted strategy loss of the sample.
__global__ void __launch_bounds__(kRowThreads)
    multi_exit_rows_kernel(MultiExitLoss a, const int* counts, float* terms) {
  follow();
  const int i = warp_row();
  if (i >= a.n) return;
  const std::int64_t first = std::int64_t{i} * a.classes;
  const Target target{
      a.kind, a.labels != nullptr ? a.labels[i] : -1, a.target != nullptr ? a.target + first : nullptr};
  const bool strategic = a.lambda != 0.f;
  const int leaves_at = strategic ? a.exits[i] : 0;
  const float weight = strategic ? sample_weight(a.strategy, a.num_exits, a.whole(), counts, leaves_at) : 0.f;
  float strategy = 0;
  for (int e = 0; e < a.num_exits; ++e) {
    const RowSoftmax row(a.classes, a.logits[e] + first);
    const float loss = loss_of(row, target);
    Hinge hinge{0.f, 0.f};
    if (strategic) hinge = hinge_of(a.strategy, a.num_exits, e + 1, leaves_at, row.confidence());
    strategy += weight * hinge.depth;
    if (a.dlogits[e] != nullptr) {
      write_gradient(row,
                     target,
                     loss,
                     a.exit_weight[e] / static_cast<float>(a.whole()),
                     strategic ? a.lambda * weight * hinge.slope : 0.f,
                     a.dlogits[e] + first);
    }
    if (lane() != 0) continue;
    terms[std::int64_t{e} * a.n + i] = loss;
    if (a.confidence != nullptr) a.confidence[std::int64_t{e} * a.n + i] = row.confidence();
    if (a.argmax != nullptr) a.argmax[std::int64_t{e} * a.n + i] = row.argmax;
  }
  if (lane() == 0) terms[std::int64_t{a.num_exits} * a.n + i] = strategy;
}

// One block.
__global__ void __launch_bounds__(kFinishThreads)
    finish_multi_exit_kernel(MultiExitLoss a, const float* terms) {
  follow();
  double total = 0;
  bool finite = true;
  for (int s = 0; s <= a.num_exits; ++s) {
    double sum = 0;
    for (int i = thread_x(); i < a.n; i += kFinishThreads) {
      sum += static_cast<double>(terms[std::int64_t{s} * a.n + i]);
    }
    sum = block_sum<kFinishThreads>(sum);
    __syncthreads();  // before the next sum uses the same shared memory
    if (thread_x() != 0) continue;
    const bool is_strategy = s == a.num_exits;
    const double mean = is_strategy || a.n == 0 ? sum : sum / a.whole();
    total += mean * static_cast<double>(is_strategy ? a.lambda : a.exit_weight[s]);
    a.loss[1 + s] = static_cast<float>(mean);
    finite = finite && isfinite(a.loss[1 + s]);
  }
  if (thread_x() != 0) return;
  a.loss[0] = static_cast<float>(total);
  if (a.state != nullptr && !(finite && isfinite(a.loss[0]))) a.state->nonfinite = 1;
}

}  // namespace

void cross_entropy(Context& ctx,
                   int rows,
                   int classes,
                   const float* logits,
                   const std::int32_t* labels,
                   float* row_loss,
                   float scale,
                   float* dlogits) {
  row_losses(
      ctx, TargetLoss::kCrossEntropy, rows, classes, logits, labels, nullptr, row_loss, scale, dlogits);
}

void target_loss(Context& ctx,
                 TargetLoss kind,
                 int rows,
                 int classes,
                 const float* logits,
                 const float* target,
                 float* row_loss,
                 float scale,
                 float* dlogits) {
  OFFRAMP_ASSERT(kind != TargetLoss::kCrossEntropy);
  row_losses(ctx, kind, rows, classes, logits, nullptr, target, row_loss, scale, dlogits);
}

void strategy_loss(Context& ctx,
                   int num_exits,
                   int n,
                   const float* confidence,
                   const std::int32_t* exits,
                   const StrategyParams& params,
                   float* loss,
                   float* dconfidence) {
  OFFRAMP_ASSERT(num_exits <= kMaxExits);
  const int* counts = counted_exits(ctx, params, num_exits, n, exits);
  launch(strategy_loss_kernel,
         1,
         kFinishThreads,
         0,
         ctx.stream(),
         num_exits,
         n,
         confidence,
         exits,
         params,
         counts,
         loss,
         dconfidence);
}

void multi_exit_loss(Context& ctx, const MultiExitLoss& a) {
  OFFRAMP_ASSERT(a.num_exits <= kMaxExits);
  const int* counts = nullptr;
  if (a.lambda != 0.f) counts = counted_exits(ctx, a.strategy, a.num_exits, a.n, a.exits);
  auto* terms = static_cast<float*>(ctx.workspace(
      Context::kPartials,
      static_cast<std::size_t>(a.num_exits + 1) * static_cast<std::size_t>(a.n) * sizeof(float) + 1));
  if (a.n > 0) {
    launch(
        multi_exit_rows_kernel, ceil_div(a.n, kRowsPerBlock), kRowThreads, 0, ctx.stream(), a, counts, terms);
  }
  launch(finish_multi_exit_kernel, 1, kFinishThreads, 0, ctx.stream(), a, terms);
}

}  // namespace offramp::cuda
