// Losses: rows of logits stay in the L1 cache while maximum, sum of exponentials, loss and gradient are
// computed, so memory is read once. Sums over samples: double, chunks of a fixed number of samples.
#include "kernels/losses.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/assert.h"
#include "kernels/cpu/softmax_row.h"

namespace offramp::cpu {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kClamp = 1e-8f;            // of v in KL(p || v), extraction 3.1
constexpr std::int64_t kSampleChunk = 16;  // samples of a partial sum of multi_exit_loss

// What one row is compared with: a label, or a distribution and its logarithms (which several exits share).
struct Target {
  TargetLoss kind;
  int label = -1;
  const float* v = nullptr;
  float* log_v = nullptr;  // [classes], scratch

  void take(int classes, const float* row) {
    v = row;
    if (kind == TargetLoss::kSoftCrossEntropy) return;
    for (int k = 0; k < classes; ++k) {
      // v ln v is 0 at v = 0, whatever stands for ln 0.
      log_v[k] = kind == TargetLoss::kKlOutputFirst ? std::log(std::max(v[k], kClamp))
                 : v[k] > 0                         ? std::log(v[k])
                                                    : 0.f;
    }
  }
};

// A row after its softmax: ln p_k = (z_k - max) - log_sum, p_k = exp(z_k - max) / sum.
struct Row {
  int classes;
  const float* z;
  RowMax top;
  float sum, log_sum;

  Row(int count, const float* logits, float* e)
      : classes(count),
        z(logits),
        top(row_max(count, logits)),
        sum(sum_of_exp(count, logits, top.max, e)),
        log_sum(std::log(sum)) {}
  float confidence() const { return 1.f / sum; }
  template <class Lanes>
  OFFRAMP_SIMD_FN f32x16 log_p(std::int64_t k, Lanes lanes) const {
    return (load(z + k, lanes) - splat(top.max)) - splat(log_sum);
  }
};

float loss_of(const Row& row, const Target& target) {
  if (target.kind == TargetLoss::kCrossEntropy) {
    if (target.label < 0 || target.label >= row.classes) return kNan;
    return row.log_sum - (row.z[target.label] - row.top.max);
  }
  f32x16 total = zero();
  each_vector(0, row.classes, [&](std::int64_t k, auto lanes) {
    const f32x16 log_p = row.log_p(k, lanes), v = load(target.v + k, lanes);
    f32x16 term;
    switch (target.kind) {
      case TargetLoss::kKlTargetFirst:
        term = v * (load(target.log_v + k, lanes) - log_p);
        break;
      case TargetLoss::kKlOutputFirst:
        term = exp(log_p) * (log_p - load(target.log_v + k, lanes));
        break;
      default:
        term = -v * log_p;
    }
    total += blank(term, lanes);
  });
  return sum(total);
}

// dz = scale * (gradient of the loss) + slope * c * (delta(k, argmax) - p_k), where dz holds exp(z - max)
// before.
void gradient_of(const Row& row, const Target& target, float loss, float scale, float slope, float* dz) {
  const float per_sum = 1.f / row.sum, pull = slope * row.confidence();
  each_vector(0, row.classes, [&](std::int64_t k, auto lanes) {
    const f32x16 p = load(dz + k, lanes) * splat(per_sum);
    f32x16 g = p;
    if (target.kind == TargetLoss::kKlOutputFirst) {
      g = p * (row.log_p(k, lanes) - load(target.log_v + k, lanes) - splat(loss));
    } else if (target.kind != TargetLoss::kCrossEntropy) {
      g = p - load(target.v + k, lanes);
    }
    store(dz + k, fma(splat(-pull), p, splat(scale) * g), lanes);
  });
  if (target.kind == TargetLoss::kCrossEntropy && target.label >= 0 && target.label < row.classes) {
    dz[target.label] -= scale;
  }
  dz[row.top.argmax] += pull;
}

// Scratch for one row per thread, padded to whole cache lines.
class RowScratch {
 public:
  RowScratch(Context& ctx, int classes)
      : stride_((static_cast<std::size_t>(classes) + kLanes - 1) / kLanes * kLanes),
        data_(static_cast<float*>(ctx.workspace(
            Context::kStage, sizeof(float) * stride_ * static_cast<std::size_t>(ctx.threads())))) {}
  float* of(int thread) const { return data_ + stride_ * static_cast<std::size_t>(thread); }

 private:
  std::size_t stride_;
  float* data_;
};

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
  const RowScratch scratch(ctx, classes);
  const std::int64_t chunk = rows_per_chunk(classes);
  parallel_ranges(ctx, chunk_count(rows, chunk), [&](std::int64_t first, std::int64_t last, int thread) {
    Target target{.kind = kind, .log_v = scratch.of(thread)};
    for (std::int64_t r = first * chunk; r < std::min<std::int64_t>(rows, last * chunk); ++r) {
      float* dz = dlogits == nullptr ? nullptr : dlogits + r * classes;
      const Row row(classes, logits + r * classes, dz);
      if (kind == TargetLoss::kCrossEntropy) {
        target.label = labels[r];
      } else {
        target.take(classes, targets + r * classes);
      }
      row_loss[r] = loss_of(row, target);
      if (dz != nullptr) gradient_of(row, target, row_loss[r], scale, 0, dz);
    }
  });
}

// Strategy loss of one (sample, exit) pair: how deep its hinge is and the sign of its slope, 0 where
// inactive.
struct Hinge {
  float depth = 0, slope = 0;
};
Hinge hinge_of(const StrategyParams& p, int num_exits, int exit, int leaves_at, float confidence) {
  if (exit > leaves_at || (exit == num_exits && !p.last_exit_term)) return {};
  const float depth = exit < leaves_at ? confidence - p.phi2 : p.phi1 - confidence;
  if (depth <= 0) return {};
  return {depth, exit < leaves_at ? 1.f : -1.f};
}

// Weight of a sample's strategy loss, by the exit that it left at. An exit outside 1 .. num_exits weighs NaN.
class SampleWeights {
 public:
  SampleWeights(const StrategyParams& p, int num_exits, int n, const std::int32_t* exits, int batch)
      : num_exits_(num_exits) {
    int count[kMaxExits + 1] = {};
    for (int i = 0; i < n; ++i) ++count[valid(exits[i]) ? exits[i] : 0];
    for (int e = 1; e <= num_exits; ++e) {
      const int members = p.mean == HingeMean::kBatch ? batch : count[e];
      weight_[e] = members > 0 ? 1.f / static_cast<float>(members) : 0.f;
    }
  }
  float of(int exit) const { return valid(exit) ? weight_[exit] : kNan; }

 private:
  bool valid(int exit) const { return exit >= 1 && exit <= num_exits_; }
  int num_exits_;
  float weight_[kMaxExits + 1] = {};
};

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

void strategy_loss(Context&,
                   int num_exits,
                   int n,
                   const float* confidence,
                   const std::int32_t* exits,
                   const StrategyParams& params,
                   float* loss,
                   float* dconfidence) {
  OFFRAMP_ASSERT(num_exits <= kMaxExits);
  const SampleWeights weights(params, num_exits, n, exits, n);
  double total = 0;
  for (int i = 0; i < n; ++i) {
    const float weight = weights.of(exits[i]);
    double sample = 0;
    for (int exit = 1; exit <= num_exits; ++exit) {
      const std::int64_t at = std::int64_t{exit - 1} * n + i;
      const Hinge hinge = hinge_of(params, num_exits, exit, exits[i], confidence[at]);
      sample += static_cast<double>(hinge.depth);
      if (dconfidence != nullptr) dconfidence[at] = hinge.slope * weight;
    }
    total += static_cast<double>(weight) * sample;
  }
  *loss = static_cast<float>(total);
}

void multi_exit_loss(Context& ctx, const MultiExitLoss& a) {
  OFFRAMP_ASSERT(a.num_exits <= kMaxExits);
  const bool strategic = a.lambda != 0;
  const SampleWeights weights(a.strategy, a.num_exits, strategic ? a.n : 0, a.exits, a.whole());
  const float per_sample = a.n > 0 ? 1.f / static_cast<float>(a.whole()) : 0.f;
  const int sums = a.num_exits + 1;  // the target loss of each exit, then the strategy loss
  const std::int64_t chunks = chunk_count(a.n, kSampleChunk);
  auto* partial = static_cast<double*>(
      ctx.workspace(Context::kPartials, sizeof(double) * static_cast<std::size_t>(chunks * sums)));
  const RowScratch scratch(ctx, a.classes);

  const auto sample_loss = [&](std::int64_t i, Target& target, double* sum) {
    if (a.kind == TargetLoss::kCrossEntropy) {
      target.label = a.labels[i];
    } else {
      target.take(a.classes, a.target + i * a.classes);
    }
    for (int e = 0; e < a.num_exits; ++e) {
      float* dz = a.dlogits[e] == nullptr ? nullptr : a.dlogits[e] + i * a.classes;
      const Row row(a.classes, a.logits[e] + i * a.classes, dz);
      const float loss = loss_of(row, target);
      sum[e] += static_cast<double>(loss);
      Hinge hinge;
      float weight = 0;
      if (strategic) {
        hinge = hinge_of(a.strategy, a.num_exits, e + 1, a.exits[i], row.confidence());
        weight = weights.of(a.exits[i]);
        sum[a.num_exits] += static_cast<double>(weight) * static_cast<double>(hinge.depth);
      }
      if (dz != nullptr) {
        gradient_of(row, target, loss, a.exit_weight[e] * per_sample, a.lambda * weight * hinge.slope, dz);
      }
      if (a.confidence != nullptr) a.confidence[std::int64_t{e} * a.n + i] = row.confidence();
      if (a.argmax != nullptr) a.argmax[std::int64_t{e} * a.n + i] = row.top.argmax;
    }
  };
  parallel_ranges(ctx, chunks, [&](std::int64_t first, std::int64_t last, int thread) {
    Target target{.kind = a.kind, .log_v = scratch.of(thread)};
    for (std::int64_t chunk = first; chunk < last; ++chunk) {
      double* sum = partial + chunk * sums;
      std::fill(sum, sum + sums, 0.);
      const std::int64_t end = std::min<std::int64_t>(a.n, (chunk + 1) * kSampleChunk);
      for (std::int64_t i = chunk * kSampleChunk; i < end; ++i) sample_loss(i, target, sum);
    }
  });

  double total = 0;
  bool finite = true;
  for (int s = 0; s < sums; ++s) {
    double sum = 0;
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * sums + s];
    const bool is_strategy = s == a.num_exits;
    const double mean = is_strategy ? sum : sum * static_cast<double>(per_sample);
    total += mean * static_cast<double>(is_strategy ? a.lambda : a.exit_weight[s]);
    a.loss[1 + s] = static_cast<float>(mean);
    finite = finite && std::isfinite(a.loss[1 + s]);
  }
  a.loss[0] = static_cast<float>(total);
  if (a.state != nullptr && !(finite && std::isfinite(a.loss[0]))) a.state->nonfinite = 1;
}

}  // namespace offramp::cpu
