// Every op that the tape knows. An op is a checked free function: it throws ShapeError or ValueError before
// any work, allocates its output, calls the kernel of the tensor's device, and records a Node only where a
// gradient is wanted. Activations may be float32 or bfloat16; weights, statistics, features, logits and
// losses are float32. Shapes are N,C,H,W; "rows" are [n, features]. docs/reference/ops.md lists them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/tensor.h"
#include "kernels/conv2d.h"
#include "kernels/losses.h"
#include "kernels/philox.h"
#include "kernels/reduce.h"

namespace offramp {

// --- convolution, linear, normalisation
struct Conv2dParams {
  int stride = 1, pad = 0, groups = 1;
};
// x [n,c,h,w], w [k,c/groups,r,s] float32, bias [k] float32 or empty -> [n,k,out_h,out_w] of x's type.
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, Conv2dParams params);
struct ConvTranspose2dParams {
  int stride = 1, pad = 0, output_pad = 0, groups = 1;
};
// The convolution's adjoint, which makes maps larger: x [n,c,h,w], w [c,k/groups,r,s] float32, bias [k] float32 or empty
// -> [n,k,out_h,out_w] of x's type, out_h = (h-1)*stride - 2*pad + r + output_pad.
Tensor conv_transpose2d(const Tensor& x, const Tensor& w, const Tensor& bias, ConvTranspose2dParams params);
// x [n,in] float32, w [out,in], bias [out] or empty -> [n,out].
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias);

struct BatchNormTensors {
  Tensor gamma, beta, running_mean, running_var;  // each [c] float32
  float eps = 1e-5f;
  float momentum = 0.1f;  // weight of the new batch
};
struct BatchNormCall {
  bool train = false;  // statistics of this batch, running averages move; else the running averages are used
  bool relu = false;
  Tensor residual;  // or empty: added before the ReLU, of x's shape and type
};
// Over x [n,c,h,w] or [n,c]: act(gamma * (x - mean) / sqrt(var + eps) + beta + residual).
Tensor batch_norm(const Tensor& x, BatchNormTensors& bn, const BatchNormCall& call);
// batch_norm(conv2d(x, w, bias, params), bn, call), for a device that in training can take the batch's statistics while
// it makes the convolution's output.
Tensor conv2d_batch_norm(const Tensor& x,
                         const Tensor& w,
                         const Tensor& bias,
                         Conv2dParams params,
                         BatchNormTensors& bn,
                         const BatchNormCall& call);

// --- activations and arithmetic
Tensor relu(const Tensor& x);
Tensor add(const Tensor& a, const Tensor& b);
Tensor scale(const Tensor& x, float factor);
Tensor convert(const Tensor& x, DType dtype);  // float32 <-> bfloat16; gradients convert back
// float32 only:
Tensor multiply(const Tensor& a, const Tensor& b);
Tensor axpby(float a, const Tensor& x, float b, const Tensor& y);  // a x + b y
Tensor tanh(const Tensor& x);
Tensor clamp(const Tensor& x, float low, float high);
Tensor pixels_from_tanh(const Tensor& w);  // (tanh(w) + 1) / 2

// --- pooling and shape
Tensor max_pool(const Tensor& x, int k, int stride);
Tensor avg_pool(const Tensor& x, int k, int stride);  // float32 out
Tensor global_avg_pool(const Tensor& x);              // [n,c,1,1] float32
// alpha * max + (1 - alpha) * avg, window and stride k; alpha [1]; float32 out.
Tensor exit_pool(const Tensor& x, const Tensor& alpha, int k);
Tensor flatten(const Tensor& x);  // [n, c*h*w] in memory order H,W,C; shares memory
// Maps of equal height and width, or rows: [n, sum of c, h, w] or [n, sum of c].
Tensor concat_channels(std::span<const Tensor> parts);
// Pixels [n,c,h,w] float32 in [0,1] -> (x - mean[c]) * inv_std[c] as `dtype`; mean, inv_std: [c].
Tensor normalize_pixels(const Tensor& x, const Tensor& mean, const Tensor& inv_std, DType dtype);
// Inverted dropout with probability p; `state` supplies the step of the key and may be null: then key.step is
// it.
Tensor dropout(const Tensor& x, float p, const PhiloxKey& key, const StepState* state);

// --- rows
Tensor softmax(const Tensor& logits);  // [n, classes]
Tensor log_softmax(const Tensor& logits);
Tensor confidence(const Tensor& logits);         // [n]: the largest softmax probability of each row
Tensor row_norm(const Tensor& x, RowNorm kind);  // [n]: of each sample, over all its values; float32
Tensor sum(const Tensor& x);                     // [1] float32
Tensor mean(const Tensor& x);

// --- losses: batch means, [1] float32
Tensor cross_entropy(const Tensor& logits, const Tensor& labels);  // labels [n] int32
// target [n, classes], rows sum to 1; kinds in kernels/losses.h.
Tensor target_loss(const Tensor& logits, const Tensor& target, TargetLoss kind);
// confidences [num_exits, n], exits [n] int32 counted from 1.
Tensor strategy_loss(const Tensor& confidences, const Tensor& exits, const StrategyParams& params);

struct MultiExitTargets {
  TargetLoss kind = TargetLoss::kCrossEntropy;
  Tensor labels;       // [n] int32, for kCrossEntropy
  Tensor target;       // [n, classes] float32, for the others
  Tensor exit_weight;  // [num_exits] float32
  float lambda = 0;    // weight of the strategy loss; 0: `exits` may be empty
  StrategyParams strategy;
  Tensor exits;  // [n] int32, 1..num_exits
  StepState* state = nullptr;
};
struct MultiExitResult {
  Tensor loss;        // [1], recorded
  Tensor parts;       // [num_exits + 2]: total, each exit's mean loss, strategy loss
  Tensor confidence;  // [num_exits, n]
  Tensor argmax;      // [num_exits, n] int32
};
// Every exit's loss, the strategy hinge and all gradients in one pass over the logits.
MultiExitResult multi_exit_loss(std::span<const Tensor> logits, const MultiExitTargets& targets);

// --- not recorded: steps of attacks and moving samples
// x <- clip(clip(x + step * sign(grad), origin - eps, origin + eps), 0, 1), in place.
void linf_step(Tensor& x, const Tensor& origin, const Tensor& grad, float step, float eps);
Tensor sign(const Tensor& x);
Tensor gather_rows(const Tensor& x, const Tensor& index);  // index [m] int32 -> [m, ...]

}  // namespace offramp
