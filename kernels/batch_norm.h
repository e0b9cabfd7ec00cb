#pragma once
// Batch normalisation over rows (n * h * w, or n) per channel, with optional residual addition and ReLU in
// the same pass: y = act(gamma * (x - mean) * inv_std + beta + residual). inv_std = 1 / sqrt(var + eps), var
// the biased batch variance. The fused forms equal the separate ones bit for bit: z = fma(scale, x, shift)
// with scale = gamma * inv_std and shift = beta - mean * scale (both rounded to float), then + residual, then
// max(., 0). In bf16 the sum is rounded once, after the activation.
#include "kernels/backend.h"

namespace offramp {

struct BatchNormGeom {
  std::int64_t rows = 0;
  int channels = 0;
  float eps = 1e-5f;
  bool relu = false;
};

// Training: statistics of this batch; running averages move by `momentum` (running variance takes the
// unbiased variance, rows / (rows - 1); with one row the biased one).
template <class T>
struct BatchNormTrain {
  const T* x;            // [rows, channels]
  const float* gamma;    // [channels]
  const float* beta;     // [channels]
  const T* residual;     // [rows, channels] or null
  float momentum;        // weight of the new batch
  float* running_mean;   // [channels], updated; null: no running statistics
  float* running_var;    // [channels], updated
  float* saved_mean;     // [channels], out: for backward
  float* saved_inv_std;  // [channels], out
  T* y;                  // [rows, channels], out
};

template <class T>
struct BatchNormEval {
  const T* x;
  const float* gamma;
  const float* beta;
  const float* running_mean;
  const float* running_var;
  const T* residual;  // or null
  T* y;
};

// Gradients of either form. With relu the mask is y > 0: from `y` where it is given (it must be when there
// was a residual), else recomputed from x. Null outputs are not computed. dz = dy * mask is the gradient of
// the residual.
template <class T>
struct BatchNormBackward {
  const T* dy;  // [rows, channels]
  const T* x;   // [rows, channels]
  const T* y;   // [rows, channels] or null
  const float* gamma;
  const float* beta;
  const float* mean;  // the mean and inv_std that the forward normalised with
  const float* inv_std;
  bool batch_statistics;  // true: mean and inv_std depend on x (training); false: constants (evaluation)
  T* dx;                  // or null
  Write dx_write;
  T* dresidual;  // or null
  Write dresidual_write;
  float* dgamma;  // or null (then dbeta is null too)
  float* dbeta;
  Write dparam_write;
};

}  // namespace offramp

// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
template <class T> void batch_norm_train(Context&, const BatchNormGeom&, const BatchNormTrain<T>&);
template <class T> void batch_norm_eval(Context&, const BatchNormGeom&, const BatchNormEval<T>&);
// inv_std[c] = 1 / sqrt(var[c] + eps): what the backward of the evaluation form needs.
void batch_norm_inv_std(Context&, int channels, float eps, const float* var, float* inv_std);
template <class T> void batch_norm_backward(Context&, const BatchNormGeom&, const BatchNormBackward<T>&);
)
// clang-format on
