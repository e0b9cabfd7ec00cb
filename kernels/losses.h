#pragma once
// Losses over logits [rows, classes], float32. Each writes the loss of every row, and, where `dlogits` is
// given, the gradient of the row losses times `scale` (1 / rows for a batch mean): one pass, nothing is read
// twice. specs: training 2, extraction 3. A non-finite row loss sets state->nonfinite where a state is given.
#include "kernels/backend.h"
#include "kernels/portable.h"

namespace offramp {

// What a row is compared with. KL has two directions (extraction 3.1): kKlTargetFirst is KL(v || p), gradient
// p - v; kKlOutputFirst is KL(p || v) with v clamped at 1e-8.
enum class TargetLoss { kCrossEntropy, kSoftCrossEntropy, kKlTargetFirst, kKlOutputFirst };

// Where the strategy hinge takes its mean (extraction 3.2).
enum class HingeMean { kBatch, kPerExit };

inline constexpr int kMaxExits = 16;

// Strategy loss of one sample with exit e (1-based): max(0, phi1 - c_e) + sum over j < e of max(0, c_j -
// phi2); subgradient 0 at the corners. kPerExit: mean within the samples of each exit, summed over exits.
struct StrategyParams {
  float phi1 = 0.95f;
  float phi2 = 0.90f;
  bool last_exit_term = true;  // false: no first term for samples that left at the last exit
  HingeMean mean = HingeMean::kBatch;
};

// All exits at once: loss = sum over exits i of exit_weight[i] * mean_n target_loss(logits_i, target)
//                          + lambda * strategy(confidences, exits).
struct MultiExitLoss {
  int num_exits = 0, n = 0, classes = 0;
  int batch = 0;  // samples that the means are over, where these are a part of them; 0: n. Not with kPerExit
  TargetLoss kind = TargetLoss::kCrossEntropy;
  const float* logits[kMaxExits] = {};   // each [n, classes]
  float* dlogits[kMaxExits] = {};        // each [n, classes] or null
  const std::int32_t* labels = nullptr;  // [n], for kCrossEntropy
  const float* target = nullptr;         // [n, classes], for the others
  const float* exit_weight = nullptr;    // [num_exits], device memory
  float lambda = 0;                      // 0: no strategy term; exits may be null
  StrategyParams strategy;
  const std::int32_t* exits = nullptr;  // [n], 1..num_exits
  float* loss = nullptr;           // [1 + num_exits + 1]: total, mean target loss of each exit (without its
                                   // weight), strategy loss (without lambda)
  float* confidence = nullptr;     // [num_exits, n] or null
  std::int32_t* argmax = nullptr;  // [num_exits, n] or null
  StepState* state = nullptr;      // or null
  OFFRAMP_HD int whole() const { return batch > 0 ? batch : n; }
};

}  // namespace offramp

// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
void cross_entropy(Context&, int rows, int classes, const float* logits, const std::int32_t* labels,
                   float* row_loss,            // [rows]
                   float scale, float* dlogits);  // [rows, classes] or null
void target_loss(Context&, TargetLoss kind, int rows, int classes, const float* logits,
                 const float* target,          // [rows, classes], rows sum to 1
                 float* row_loss, float scale, float* dlogits);
// From confidences [num_exits, n]; loss: [1]; dconfidence [num_exits, n] or null is the gradient of that mean.
void strategy_loss(Context&, int num_exits, int n, const float* confidence, const std::int32_t* exits,
                   const StrategyParams&, float* loss, float* dconfidence);
void multi_exit_loss(Context&, const MultiExitLoss&);
)
// clang-format on
