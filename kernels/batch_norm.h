#pragma once
// Batch normalisation over rows (n * h * w, or n) per channel, with optional residual addition and ReLU in
// the same pass: y = act(gamma * (x - mean) * inv_std + beta + residual). inv_std = 1 / sqrt(var + eps), var
// the biased batch variance. The fused forms equal the separate ones bit for bit: z = fma(scale, x, shift)
// with scale = gamma * inv_std and shift = beta - mean * scale (both rounded to float), then + residual, then
// max(., 0). In bf16 the sum is rounded once, after the activation.
#include "kernels/backend.h"
#include "kernels/portable.h"

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
  T* y;                  // [rows, channels], out; null: the statistics alone
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
  const float* inv_std = nullptr;  // given: running_var is not read
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
  // Where these rows are a part of a batch: sums over all `total_rows` of it, [2][channels], of dz and of
  // dz * (x - mean) * inv_std, for dx; dgamma is null then. Null: the sums of these rows.
  const float* sums = nullptr;
  std::int64_t total_rows = 0;
};

// The statistics of a batch that is cut into `count` shards of nearly equal size, from those of the shards, added in
// their order: a batch of `images`, shard s from image images * s / count on.
struct BatchNormShards {
  int count, channels;
  std::int64_t images, rows_per_image;
  const float* parts;   // [count][2][channels]: mean, and variance as running_var takes it with momentum 1
  float momentum;       // weight of the new batch
  float* running_mean;  // [channels], updated; null: no running statistics
  float* running_var;   // [channels], updated
  float* mean;          // [channels], out
  float* var;           // [channels], out: the biased variance
};

// One channel of it. Chan, Golub, LeVeque 1983: deviations within the shards and between them.
OFFRAMP_HD inline void combine_channel(const BatchNormShards& b, int c) {
  const auto rows = static_cast<double>(b.images * b.rows_per_image);
  const auto rows_of = [&](int s) {
    return static_cast<double>((b.images * (s + 1) / b.count - b.images * s / b.count) * b.rows_per_image);
  };
  const auto part = [&](int s, int which) {
    return static_cast<double>(b.parts[(std::int64_t{2} * s + which) * b.channels + c]);
  };
  double mean = 0;
  for (int s = 0; s < b.count; ++s) mean += rows_of(s) * part(s, 0);
  mean /= rows;
  double squares = 0;
  for (int s = 0; s < b.count; ++s) {
    const double n = rows_of(s), off = part(s, 0) - mean;
    squares += (n > 1 ? n - 1 : n) * part(s, 1) + n * off * off;
  }
  b.mean[c] = static_cast<float>(mean);
  b.var[c] = static_cast<float>(squares / rows);
  if (b.running_mean == nullptr) return;
  const auto m = static_cast<double>(b.momentum);
  const double unbiased = rows > 1 ? squares / (rows - 1) : squares / rows;
  b.running_mean[c] = static_cast<float>((1 - m) * static_cast<double>(b.running_mean[c]) + m * mean);
  b.running_var[c] = static_cast<float>((1 - m) * static_cast<double>(b.running_var[c]) + m * unbiased);
}

}  // namespace offramp

// clang-format off
OFFRAMP_FOR_EACH_BACKEND(
template <class T> void batch_norm_train(Context&, const BatchNormGeom&, const BatchNormTrain<T>&);
template <class T> void batch_norm_eval(Context&, const BatchNormGeom&, const BatchNormEval<T>&);
// inv_std[c] = 1 / sqrt(var[c] + eps): what the backward of the evaluation form needs.
void batch_norm_inv_std(Context&, int channels, float eps, const float* var, float* inv_std);
void batch_norm_combine(Context&, const BatchNormShards&);
template <class T> void batch_norm_backward(Context&, const BatchNormGeom&, const BatchNormBackward<T>&);
)
// clang-format on
