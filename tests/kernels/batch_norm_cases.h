#pragma once
// Cases of batch norm, their inputs and bounds, and a forward and a backward of one case on a back end.
#include <cmath>
#include <string>

#include "kernels/batch_norm.h"
#include "tests/kernels/op_test.h"

namespace offramp::test::batch_norm_cases {

// Channel counts around and below the vector width, odd ones, and more than one group of vectors; rows with
// and without a rest in the repeating pattern, one row, and more than one chunk.
// The last ones start aligned, for CUDA's 16-byte forms: one access a row, a few, more than a block has lanes,
// and more than one part of the rows.
struct Shape {
  std::int64_t rows;
  int channels;
  std::size_t offset = 1;  // of every tensor's start, in elements
};
inline constexpr Shape kShapes[] = {{6, 5},
                                    {1, 3},
                                    {2, 16},
                                    {35, 1},
                                    {35, 6},
                                    {37, 17},
                                    {70, 48},
                                    {19, 64},
                                    {33, 80},
                                    {9, 131},
                                    {800, 22},
                                    {35, 8, 0},
                                    {150, 24, 0},
                                    {9, 264, 0}};

// Everything of one case: inputs rounded to T, as vectors.
template <class T>
struct Data {
  BatchNormGeom geom;
  std::size_t size, channels, offset;
  std::vector<T> x, residual, dy;
  std::vector<float> gamma, beta, mean, var;

  Data(Shape s, bool relu)
      : geom{.rows = s.rows, .channels = s.channels, .eps = 1e-3f, .relu = relu},
        size(static_cast<std::size_t>(s.rows * s.channels)),
        channels(static_cast<std::size_t>(s.channels)),
        offset(s.offset),
        x(random_vector<T>(size, 1, -1, 3)),
        residual(random_vector<T>(size, 2)),
        dy(random_vector<T>(size, 3)),
        gamma(random_vector<float>(channels, 4, 0.5f, 2)),
        beta(random_vector<float>(channels, 5)),
        mean(random_vector<float>(channels, 6, 0, 2)),
        var(random_vector<float>(channels, 7, 0.5f, 2)) {
    if (channels > 1) gamma[1] = -gamma[1];
  }
  std::string name() const {
    return std::to_string(geom.rows) + " x " + std::to_string(geom.channels) + (geom.relu ? ", relu" : "");
  }
};

// The error of z = scale x + shift. With |x| <= 3 and inv_std <= 1 / sqrt(eps) at worst, what counts is the
// size of scale * x and shift in each channel; a few float roundings each.
template <class T>
std::vector<double> forward_bounds(const Data<T>& d,
                                   const std::vector<double>& mean,
                                   const std::vector<double>& var,
                                   const std::vector<double>& y) {
  std::vector<double> bound(d.size);
  for (std::size_t i = 0; i < d.size; ++i) {
    const std::size_t c = i % d.channels;
    const double scale = std::fabs(static_cast<double>(d.gamma[c])) / std::sqrt(var[c] + 1e-3);
    const double parts = scale * (3 + std::fabs(mean[c])) + std::fabs(static_cast<double>(d.beta[c])) + 1;
    bound[i] = stored_bound<T>(y[i], sum_bound(8, parts));
  }
  return bound;
}

// The backward of one case with chosen outputs; null where an output is not wanted.
struct Wanted {
  bool dx = true, dresidual = false, dparams = true;
};

template <class B>
struct BackwardResult {
  std::vector<typename B::Value> dx, dresidual;
  std::vector<float> dgamma, dbeta;
};

template <class B>
BackwardResult<B> run_backward(const Data<typename B::Value>& d,
                               const std::vector<float>& mean_values,
                               const std::vector<float>& inv_std_values,
                               const std::vector<typename B::Value>* output,
                               bool batch_statistics,
                               Wanted wanted,
                               Write write,
                               typename B::Device::Context& ctx = B::Device::context()) {
  using Device = typename B::Device;
  using T = typename B::Value;
  const Fenced<T, Device> x(d.x, d.offset), dy(d.dy, d.offset),
      y(output != nullptr ? *output : d.x, d.offset);
  const Fenced<float, Device> gamma(d.gamma), beta(d.beta), mean(mean_values), inv_std(inv_std_values);
  Fenced<T, Device> dx(start_values(write, d.residual), d.offset),
      dresidual(start_values(write, d.x), d.offset);
  Fenced<float, Device> dgamma(start_values(write, d.mean), d.offset),
      dbeta(start_values(write, d.var), d.offset);
  batch_norm_backward(ctx,
                      d.geom,
                      BatchNormBackward<T>{.dy = dy.data(),
                                           .x = x.data(),
                                           .y = output != nullptr ? y.data() : nullptr,
                                           .gamma = gamma.data(),
                                           .beta = beta.data(),
                                           .mean = mean.data(),
                                           .inv_std = inv_std.data(),
                                           .batch_statistics = batch_statistics,
                                           .dx = wanted.dx ? dx.data() : nullptr,
                                           .dx_write = write,
                                           .dresidual = wanted.dresidual ? dresidual.data() : nullptr,
                                           .dresidual_write = write,
                                           .dgamma = wanted.dparams ? dgamma.data() : nullptr,
                                           .dbeta = wanted.dparams ? dbeta.data() : nullptr,
                                           .dparam_write = write});
  BackwardResult<B> out;
  if (wanted.dx) out.dx = dx.values();
  if (wanted.dresidual) out.dresidual = dresidual.values();
  if (wanted.dparams) {
    out.dgamma = dgamma.values();
    out.dbeta = dbeta.values();
  }
  return out;
}

// The forward on the device: output, mean and inv_std as the backward gets them.
template <class B>
struct ForwardResult {
  std::vector<typename B::Value> y;
  std::vector<float> mean, inv_std;
};
template <class B>
ForwardResult<B> run_forward(const Data<typename B::Value>& d,
                             bool with_residual,
                             typename B::Device::Context& ctx = B::Device::context()) {
  using Device = typename B::Device;
  using T = typename B::Value;
  const Fenced<T, Device> x(d.x), residual(d.residual);
  const Fenced<float, Device> gamma(d.gamma), beta(d.beta);
  Fenced<float, Device> mean(d.channels), inv_std(d.channels);
  Fenced<T, Device> y(d.size);
  batch_norm_train(ctx,
                   d.geom,
                   BatchNormTrain<T>{.x = x.data(),
                                     .gamma = gamma.data(),
                                     .beta = beta.data(),
                                     .residual = with_residual ? residual.data() : nullptr,
                                     .momentum = 0.1f,
                                     .running_mean = nullptr,
                                     .running_var = nullptr,
                                     .saved_mean = mean.data(),
                                     .saved_inv_std = inv_std.data(),
                                     .y = y.data()});
  return {y.values(), mean.values(), inv_std.values()};
}

}  // namespace offramp::test::batch_norm_cases
