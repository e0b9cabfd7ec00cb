#include "kernels/batch_norm.h"

#include <cmath>
#include <limits>
#include <string>

#include "kernels/elementwise.h"
#include "kernels/ref/batch_norm.h"
#include "tests/kernels/op_test.h"

namespace offramp::test {
namespace {

// Channel counts around and below the vector width, odd ones, and more than one group of vectors; rows with
// and without a rest in the repeating pattern, one row, and more than one chunk.
// The last ones start aligned, for CUDA's 16-byte forms: one access a row, a few, more than a block has lanes,
// and more than one part of the rows.
struct Shape {
  std::int64_t rows;
  int channels;
  std::size_t offset = 1;  // of every tensor's start, in elements
};
constexpr Shape kShapes[] = {{6, 5},
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

template <class B>
class BatchNorm : public BackendTest<B> {};
TYPED_TEST_SUITE(BatchNorm, Backends, BackendNames);

TYPED_TEST(BatchNorm, TrainingMatchesTheReference) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const Shape shape : kShapes) {
    for (const bool relu : {false, true}) {
      for (const bool with_residual : {false, true}) {
        const Data<T> d(shape, relu);
        const Fenced<T, Device> x(d.x, d.offset), residual(d.residual, d.offset);
        const Fenced<float, Device> gamma(d.gamma), beta(d.beta);
        Fenced<float, Device> running_mean(d.mean, d.offset), running_var(d.var, d.offset),
            mean(d.channels, d.offset), inv_std(d.channels, d.offset);
        Fenced<T, Device> y(d.size, d.offset);
        batch_norm_train(Device::context(),
                         d.geom,
                         BatchNormTrain<T>{.x = x.data(),
                                           .gamma = gamma.data(),
                                           .beta = beta.data(),
                                           .residual = with_residual ? residual.data() : nullptr,
                                           .momentum = 0.1f,
                                           .running_mean = running_mean.data(),
                                           .running_var = running_var.data(),
                                           .saved_mean = mean.data(),
                                           .saved_inv_std = inv_std.data(),
                                           .y = y.data()});
        std::vector<double> ref_mean(d.channels), ref_var(d.channels), ref_inv_std(d.channels), ref_y(d.size);
        std::vector<double> ref_running_mean = to_double(d.mean), ref_running_var = to_double(d.var);
        const std::vector<double> rx = to_double(d.x), rr = to_double(d.residual);
        ref::batch_statistics(d.geom, rx.data(), ref_mean.data(), ref_var.data());
        ref::batch_norm_apply(d.geom,
                              rx.data(),
                              to_double(d.gamma).data(),
                              to_double(d.beta).data(),
                              ref_mean.data(),
                              ref_var.data(),
                              with_residual ? rr.data() : nullptr,
                              ref_y.data());
        ref::move_running_statistics(d.geom,
                                     static_cast<double>(0.1f),
                                     ref_mean.data(),
                                     ref_var.data(),
                                     ref_running_mean.data(),
                                     ref_running_var.data());
        for (std::size_t c = 0; c < d.channels; ++c)
          ref_inv_std[c] = 1 / std::sqrt(ref_var[c] + static_cast<double>(1e-3f));
        // Means of |x| <= 3; squares of x - centre are at most 16.
        const auto rows = static_cast<double>(shape.rows);
        const double mean_bound = sum_bound(rows, 3 * rows) / rows,
                     var_bound = sum_bound(rows, 16 * rows) / rows;
        EXPECT_CLOSE(mean.values(), ref_mean, mean_bound) << d.name();
        EXPECT_CLOSE(running_mean.values(), ref_running_mean, mean_bound) << d.name();
        EXPECT_CLOSE(running_var.values(), ref_running_var, 2 * var_bound) << d.name();
        std::vector<double> inv_std_bound(d.channels);
        for (std::size_t c = 0; c < d.channels; ++c) {
          inv_std_bound[c] =
              stored_bound<float>(ref_inv_std[c], 0.5 * std::pow(ref_inv_std[c], 3) * var_bound);
        }
        EXPECT_CLOSE(inv_std.values(), ref_inv_std, inv_std_bound) << d.name();
        if (shape.rows == 1) continue;  // y is then 0 times 1 / sqrt(eps): no float can tell
        EXPECT_CLOSE(y.values(), ref_y, forward_bounds(d, ref_mean, ref_var, ref_y)) << d.name();
      }
    }
  }
}

TYPED_TEST(BatchNorm, ASingleRowBecomesBetaAndMovesTheBiasedVariance) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  const Data<T> d({1, 5}, false);
  const Fenced<T, Device> x(d.x);
  const Fenced<float, Device> gamma(d.gamma), beta(d.beta);
  Fenced<float, Device> running_mean(d.mean), running_var(d.var), mean(5), inv_std(5);
  Fenced<T, Device> y(5);
  batch_norm_train(Device::context(),
                   d.geom,
                   BatchNormTrain<T>{.x = x.data(),
                                     .gamma = gamma.data(),
                                     .beta = beta.data(),
                                     .residual = nullptr,
                                     .momentum = 0.25f,
                                     .running_mean = running_mean.data(),
                                     .running_var = running_var.data(),
                                     .saved_mean = mean.data(),
                                     .saved_inv_std = inv_std.data(),
                                     .y = y.data()});
  std::vector<double> beta_values = to_double(d.beta), moved(5), bound(5);
  for (std::size_t c = 0; c < 5; ++c) {
    moved[c] = 0.75 * static_cast<double>(d.var[c]);
    // The two products of z cancel: each has at most 2 / sqrt(eps) times |x| <= 3.
    bound[c] = stored_bound<T>(beta_values[c], kEps<float> * 6 / std::sqrt(1e-3));
  }
  EXPECT_CLOSE(y.values(), beta_values, bound);
  EXPECT_CLOSE(running_var.values(), moved, kEps<float>);
  EXPECT_CLOSE(mean.values(), to_double(d.x), 0);
}

TYPED_TEST(BatchNorm, EvaluationMatchesTheReference) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const Shape shape : kShapes) {
    for (const bool relu : {false, true}) {
      for (const bool with_residual : {false, true}) {
        const Data<T> d(shape, relu);
        const Fenced<T, Device> x(d.x, d.offset), residual(d.residual, d.offset);
        const Fenced<float, Device> gamma(d.gamma), beta(d.beta), mean(d.mean), var(d.var);
        Fenced<T, Device> y(d.size, d.offset);
        batch_norm_eval(Device::context(),
                        d.geom,
                        BatchNormEval<T>{.x = x.data(),
                                         .gamma = gamma.data(),
                                         .beta = beta.data(),
                                         .running_mean = mean.data(),
                                         .running_var = var.data(),
                                         .residual = with_residual ? residual.data() : nullptr,
                                         .y = y.data()});
        const std::vector<double> rx = to_double(d.x), rr = to_double(d.residual), rm = to_double(d.mean),
                                  rv = to_double(d.var);
        std::vector<double> ref_y(d.size);
        ref::batch_norm_apply(d.geom,
                              rx.data(),
                              to_double(d.gamma).data(),
                              to_double(d.beta).data(),
                              rm.data(),
                              rv.data(),
                              with_residual ? rr.data() : nullptr,
                              ref_y.data());
        EXPECT_CLOSE(y.values(), ref_y, forward_bounds(d, rm, rv, ref_y)) << d.name();
      }
    }
  }
}

TYPED_TEST(BatchNorm, InverseDeviationIsTheOneOfTheFormula) {
  using Device = typename TypeParam::Device;
  const std::vector<float> values = random_vector<float>(37, 8, 0, 4);
  const Fenced<float, Device> var(values);
  Fenced<float, Device> inv_std(37);
  batch_norm_inv_std(Device::context(), 37, 1e-5f, var.data(), inv_std.data());
  std::vector<double> expected(37), bound(37);
  for (std::size_t c = 0; c < 37; ++c) {
    expected[c] = 1 / std::sqrt(static_cast<double>(values[c]) + static_cast<double>(1e-5f));
    bound[c] = 2 * kEps<float> * expected[c];
  }
  EXPECT_CLOSE(inv_std.values(), expected, bound);
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

TYPED_TEST(BatchNorm, EveryCombinationOfGradientsMatchesTheReference) {
  using T = typename TypeParam::Value;
  for (const Shape shape : kShapes) {
    for (const bool relu : {false, true}) {
      const Data<T> d(shape, relu);
      for (const bool with_residual : {false, true}) {
        const ForwardResult<TypeParam> forward = run_forward<TypeParam>(d, with_residual);
        for (const bool batch_statistics : {false, true}) {
          for (const Write write : kWrites) {
            std::vector<double> dx = start_doubles(write, d.residual), dresidual = start_doubles(write, d.x);
            std::vector<double> dgamma = start_doubles(write, d.mean), dbeta = start_doubles(write, d.var);
            // Measured by mean and inv_std as they are, so that only this op's own error is in the bound.
            ref::batch_norm_backward(d.geom,
                                     batch_statistics,
                                     to_double(d.dy).data(),
                                     to_double(d.x).data(),
                                     to_double(forward.y).data(),
                                     to_double(d.gamma).data(),
                                     to_double(forward.mean).data(),
                                     to_double(forward.inv_std).data(),
                                     dx.data(),
                                     write,
                                     dresidual.data(),
                                     write,
                                     dgamma.data(),
                                     dbeta.data(),
                                     write);
            // |dz| <= 1 and |x - mean| <= 4: sums over rows, means of them, and dx from both.
            const auto rows = static_cast<double>(shape.rows);
            std::vector<double> dx_bound(d.size), dgamma_bound(d.channels), dbeta_bound(d.channels);
            for (std::size_t i = 0; i < d.size; ++i) {
              const std::size_t c = i % d.channels;
              const auto inv_std = static_cast<double>(forward.inv_std[c]);
              const double scale = std::fabs(static_cast<double>(d.gamma[c])) * inv_std;
              const double slope = scale * (2 + 16 * inv_std * inv_std);
              dx_bound[i] = stored_bound<T>(dx[i], sum_bound(rows, rows * slope) / rows + kEps<float>);
              dgamma_bound[c] = stored_bound<float>(dgamma[c], sum_bound(rows, rows * 4 * inv_std));
              dbeta_bound[c] = stored_bound<float>(dbeta[c], sum_bound(rows, rows));
            }
            for (const bool wants_dx : {false, true}) {
              for (const bool wants_dresidual : {false, true}) {
                for (const bool wants_dparams : {false, true}) {
                  const std::string name = d.name() + (with_residual ? ", residual" : "") +
                                           (batch_statistics ? ", batch statistics" : "") +
                                           (write == Write::kAccumulate ? ", accumulate" : "");
                  // Without a residual the mask may come from the output or from x: both ways.
                  for (const bool give_output : {false, true}) {
                    if (!give_output && with_residual) continue;
                    const BackwardResult<TypeParam> got =
                        run_backward<TypeParam>(d,
                                                forward.mean,
                                                forward.inv_std,
                                                give_output ? &forward.y : nullptr,
                                                batch_statistics,
                                                {wants_dx, wants_dresidual, wants_dparams},
                                                write);
                    if (wants_dx) {
                      EXPECT_CLOSE(got.dx, dx, dx_bound) << name;
                    }
                    if (wants_dresidual) {
                      EXPECT_CLOSE(got.dresidual, dresidual, stored_bounds<T>(dresidual, 0)) << name;
                    }
                    if (!wants_dparams) continue;
                    EXPECT_CLOSE(got.dgamma, dgamma, dgamma_bound) << name;
                    EXPECT_CLOSE(got.dbeta, dbeta, dbeta_bound) << name;
                  }
                }
              }
            }
          }
        }
      }
      if (this->HasFailure()) return;  // one shape's messages are enough
    }
  }
}

TYPED_TEST(BatchNorm, TheRecomputedMaskIsTheMaskOfTheOutput) {
  using T = typename TypeParam::Value;
  for (const Shape shape : {Shape{2500, 22}, Shape{300, 24, 0}}) {
    const Data<T> d(shape, true);
    const ForwardResult<TypeParam> forward = run_forward<TypeParam>(d, false);
    const auto with = [&](const std::vector<T>* y) {
      return run_backward<TypeParam>(
          d, forward.mean, forward.inv_std, y, true, {.dresidual = true}, Write::kOverwrite);
    };
    const BackwardResult<TypeParam> from_y = with(&forward.y), from_x = with(nullptr);
    EXPECT_SAME_BITS(from_y.dx, from_x.dx);
    EXPECT_SAME_BITS(from_y.dresidual, from_x.dresidual);
    EXPECT_SAME_BITS(from_y.dgamma, from_x.dgamma);
  }
}

template <class B>
class BatchNormFloat : public BackendTest<B> {};
TYPED_TEST_SUITE(BatchNormFloat, FloatBackends, BackendNames);

TYPED_TEST(BatchNormFloat, FusedFormsEqualSeparateOnesBitForBit) {
  using Device = typename TypeParam::Device;
  for (const Shape shape : {Shape{37, 17}, Shape{700, 64, 0}}) {
    const Data<float> plain(shape, false), fused(shape, true);
    const ForwardResult<TypeParam> z = run_forward<TypeParam>(plain, false),
                                   y = run_forward<TypeParam>(fused, true);
    const auto n = static_cast<std::int64_t>(plain.size);
    const Fenced<float, Device> dz(z.y), residual(plain.residual);
    Fenced<float, Device> sum(plain.size), separate(plain.size);
    add(Device::context(), n, dz.data(), residual.data(), sum.data());
    relu_forward(Device::context(), n, sum.data(), separate.data());
    EXPECT_SAME_BITS(y.y, separate.values());

    // Backward: mask first, then the plain form.
    const BackwardResult<TypeParam> once =
        run_backward<TypeParam>(fused, y.mean, y.inv_std, &y.y, true, {.dresidual = true}, Write::kOverwrite);
    const Fenced<float, Device> out(y.y), dy(fused.dy);
    Fenced<float, Device> masked(plain.size);
    relu_backward(Device::context(), n, out.data(), dy.data(), masked.data(), Write::kOverwrite);
    Data<float> after = plain;
    after.dy = masked.values();
    const BackwardResult<TypeParam> twice =
        run_backward<TypeParam>(after, y.mean, y.inv_std, nullptr, true, {}, Write::kOverwrite);
    EXPECT_SAME_BITS(once.dresidual, after.dy);
    EXPECT_SAME_BITS(once.dx, twice.dx);
    EXPECT_SAME_BITS(once.dgamma, twice.dgamma);
    EXPECT_SAME_BITS(once.dbeta, twice.dbeta);
  }
}

TYPED_TEST(BatchNormFloat, AlmostConstantChannelsFarFromZeroKeepTheirVariance) {
  // Mean 1000, deviation 0.25: the plain one-pass formula would lose the variance.
  Data<float> d({4096, 3}, false);
  d.x = random_vector<float>(d.size, 9, 999.5f, 1000.5f);
  for (std::size_t i = 2; i < d.size; i += 3) d.x[i] = 7.f;  // and one that is constant
  const ForwardResult<TypeParam> got = run_forward<TypeParam>(d, false);
  std::vector<double> mean(3), var(3);
  ref::batch_statistics(d.geom, to_double(d.x).data(), mean.data(), var.data());
  const double var_bound = sum_bound(4096, 4096 * 1.0) / 4096;
  for (std::size_t c = 0; c < 3; ++c) {
    const double expected = 1 / std::sqrt(var[c] + static_cast<double>(1e-3f));
    EXPECT_NEAR(static_cast<double>(got.inv_std[c]), expected, 2 * std::pow(expected, 3) * var_bound)
        << "channel " << c;
  }
  EXPECT_EQ(got.mean[2], 7.f);
}

// Neither becomes a variance of zero, which would look like a channel that is constant.
TYPED_TEST(BatchNormFloat, NanStaysInItsChannel) {
  using Device = typename TypeParam::Device;
  for (const int channels : {17, 24}) {
    const std::size_t nan_at = 3, infinity_at = 11, width = static_cast<std::size_t>(channels);
    Data<float> d({37, channels}, true);
    d.x[5 * width + nan_at] = std::numeric_limits<float>::quiet_NaN();
    d.x[6 * width + infinity_at] = std::numeric_limits<float>::infinity();
    const Fenced<float, Device> x(d.x), gamma(d.gamma), beta(d.beta);
    Fenced<float, Device> running_mean(d.mean), running_var(d.var), mean(width), inv_std(width), y(d.size);
    batch_norm_train(Device::context(),
                     d.geom,
                     BatchNormTrain<float>{.x = x.data(),
                                           .gamma = gamma.data(),
                                           .beta = beta.data(),
                                           .residual = nullptr,
                                           .momentum = 0.1f,
                                           .running_mean = running_mean.data(),
                                           .running_var = running_var.data(),
                                           .saved_mean = mean.data(),
                                           .saved_inv_std = inv_std.data(),
                                           .y = y.data()});
    const auto bad = [&](std::size_t c) { return c == nan_at || c == infinity_at; };
    const std::vector<float> means = running_mean.values(), vars = running_var.values(),
                             spreads = inv_std.values(), out = y.values();
    for (std::size_t c = 0; c < width; ++c) {
      EXPECT_EQ(std::isnan(means[c]), c == nan_at) << c;
      EXPECT_EQ(std::isinf(means[c]), c == infinity_at) << c;
      EXPECT_EQ(std::isnan(vars[c]), bad(c)) << c;
      EXPECT_EQ(std::isnan(spreads[c]), bad(c)) << c;
    }
    for (std::size_t i = 0; i < d.size; ++i) EXPECT_EQ(std::isnan(out[i]), bad(i % width)) << i;
  }
}

// A batch of 7 images in 3 shards of 2, 2 and 3: statistics by shard put together are those of all rows, and with the sums of all
// rows the gradient of a part is that part of the whole gradient.
TYPED_TEST(BatchNormFloat, ShardsHaveTheStatisticsAndGradientsOfTheWholeBatch) {
  using Device = typename TypeParam::Device;
  constexpr int kShards = 3, kImages = 7, kRowsOfAnImage = 5;
  const Data<float> d({kImages * kRowsOfAnImage, 17}, true);
  const auto first_row = [&](int shard) { return std::int64_t{kImages} * shard / kShards * kRowsOfAnImage; };
  const Fenced<float, Device> x(d.x), gamma(d.gamma), beta(d.beta);
  Fenced<float, Device> parts(std::vector<float>(2 * kShards * d.channels, 0.f)), mean(d.channels),
      inv_std(d.channels);
  for (int s = 0; s < kShards; ++s) {
    BatchNormGeom g = d.geom;
    g.rows = first_row(s + 1) - first_row(s);
    float* part = parts.data() + 2 * static_cast<std::size_t>(s) * d.channels;
    batch_norm_train(Device::context(),
                     g,
                     BatchNormTrain<float>{.x = x.data() + first_row(s) * g.channels,
                                           .gamma = gamma.data(),
                                           .beta = beta.data(),
                                           .residual = nullptr,
                                           .momentum = 1,
                                           .running_mean = part,
                                           .running_var = part + d.channels,
                                           .saved_mean = mean.data(),
                                           .saved_inv_std = inv_std.data(),
                                           .y = nullptr});
  }
  Fenced<float, Device> running_mean(d.mean), running_var(d.var), var(d.channels);
  batch_norm_combine(Device::context(),
                     BatchNormShards{.count = kShards,
                                     .channels = d.geom.channels,
                                     .images = kImages,
                                     .rows_per_image = kRowsOfAnImage,
                                     .parts = std::as_const(parts).data(),
                                     .momentum = 0.1f,
                                     .running_mean = running_mean.data(),
                                     .running_var = running_var.data(),
                                     .mean = mean.data(),
                                     .var = var.data()});
  const std::vector<double> rx = to_double(d.x);
  std::vector<double> ref_mean(d.channels), ref_var(d.channels);
  std::vector<double> ref_running_mean = to_double(d.mean), ref_running_var = to_double(d.var);
  ref::batch_statistics(d.geom, rx.data(), ref_mean.data(), ref_var.data());
  ref::move_running_statistics(d.geom,
                               static_cast<double>(0.1f),
                               ref_mean.data(),
                               ref_var.data(),
                               ref_running_mean.data(),
                               ref_running_var.data());
  const double rows = static_cast<double>(d.geom.rows), mean_bound = sum_bound(rows, 3 * rows) / rows,
               var_bound = sum_bound(rows, 16 * rows) / rows;
  EXPECT_CLOSE(mean.values(), ref_mean, mean_bound);
  EXPECT_CLOSE(var.values(), ref_var, var_bound);
  EXPECT_CLOSE(running_mean.values(), ref_running_mean, mean_bound);
  EXPECT_CLOSE(running_var.values(), ref_running_var, 2 * var_bound);

  const ForwardResult<TypeParam> f = run_forward<TypeParam>(d, false);
  const BackwardResult<TypeParam> whole =
      run_backward<TypeParam>(d, f.mean, f.inv_std, nullptr, true, {}, Write::kOverwrite);
  std::vector<float> sums = whole.dbeta;
  sums.insert(sums.end(), whole.dgamma.begin(), whole.dgamma.end());
  const Fenced<float, Device> dy(d.dy), sums_of_all(sums), own_mean(f.mean), own_inv_std(f.inv_std);
  Fenced<float, Device> dx(d.size);
  for (int s = 0; s < kShards; ++s) {
    BatchNormGeom g = d.geom;
    g.rows = first_row(s + 1) - first_row(s);
    const std::int64_t at = first_row(s) * g.channels;
    batch_norm_backward(Device::context(),
                        g,
                        BatchNormBackward<float>{.dy = dy.data() + at,
                                                 .x = x.data() + at,
                                                 .y = nullptr,
                                                 .gamma = gamma.data(),
                                                 .beta = beta.data(),
                                                 .mean = own_mean.data(),
                                                 .inv_std = own_inv_std.data(),
                                                 .batch_statistics = true,
                                                 .dx = dx.data() + at,
                                                 .dx_write = Write::kOverwrite,
                                                 .dresidual = nullptr,
                                                 .dresidual_write = Write::kOverwrite,
                                                 .dgamma = nullptr,
                                                 .dbeta = nullptr,
                                                 .dparam_write = Write::kOverwrite,
                                                 .sums = sums_of_all.data(),
                                                 .total_rows = d.geom.rows});
  }
  // scale <= 2 / std with std of values over [-1, 3] near 1.15; dz <= 1, its means and xhat times them <= 3.
  EXPECT_CLOSE(dx.values(), to_double(whole.dx), sum_bound(8, 10));
}

TYPED_TEST(BatchNormFloat, NoRowsGiveZeroParameterGradients) {
  const Data<float> d({0, 5}, true);
  const BackwardResult<TypeParam> got =
      run_backward<TypeParam>(d, d.mean, d.var, nullptr, true, {.dresidual = true}, Write::kOverwrite);
  EXPECT_EQ(got.dgamma, std::vector<float>(5, 0.f));
  EXPECT_EQ(got.dbeta, std::vector<float>(5, 0.f));
  EXPECT_TRUE(got.dx.empty());
  EXPECT_TRUE(run_forward<TypeParam>(d, true).y.empty());
}

TEST(BatchNormCpu, BitsDoNotDependOnTheThreadCount) {
  using B = Backend<CpuDevice, float>;
  for (const Shape shape : {Shape{5000, 22}, Shape{9000, 16}, Shape{700, 256}}) {
    const Data<float> d(shape, true);
    expect_same_bits_for_any_thread_count([&](cpu::Context& ctx) {
      const ForwardResult<B> f = run_forward<B>(d, true, ctx);
      const BackwardResult<B> b =
          run_backward<B>(d, f.mean, f.inv_std, &f.y, true, {.dresidual = true}, Write::kAccumulate, ctx);
      std::vector<float> all = f.y;
      for (const std::vector<float>& part : {f.mean, f.inv_std, b.dx, b.dresidual, b.dgamma, b.dbeta}) {
        all.insert(all.end(), part.begin(), part.end());
      }
      return all;
    });
  }
}

TEST(BatchNormReference, GradientsMatchCentralDifferences) {
  constexpr Shape kShape{5, 3};
  for (const bool batch_statistics : {false, true}) {
    const Data<float> d(kShape, true);
    const std::vector<double> x = to_double(d.x), gamma = to_double(d.gamma), beta = to_double(d.beta),
                              residual = to_double(d.residual), u = random_cotangent(d.size, 10);
    const auto forward = [&](const std::vector<double>& in,
                             const std::vector<double>& scale,
                             const std::vector<double>& offset,
                             const std::vector<double>& r) {
      std::vector<double> mean = to_double(d.mean), var = to_double(d.var), y(d.size);
      if (batch_statistics) ref::batch_statistics(d.geom, in.data(), mean.data(), var.data());
      ref::batch_norm_apply(
          d.geom, in.data(), scale.data(), offset.data(), mean.data(), var.data(), r.data(), y.data());
      return y;
    };
    const std::vector<double> y = forward(x, gamma, beta, residual);
    int positive = 0;
    for (const double value : y) positive += value > 0 ? 1 : 0;
    ASSERT_GT(positive, 3);
    ASSERT_LT(positive, static_cast<int>(d.size));  // the mask does something
    std::vector<double> mean = to_double(d.mean), var = to_double(d.var), inv_std(d.channels);
    if (batch_statistics) ref::batch_statistics(d.geom, x.data(), mean.data(), var.data());
    for (std::size_t c = 0; c < d.channels; ++c)
      inv_std[c] = 1 / std::sqrt(var[c] + static_cast<double>(d.geom.eps));
    std::vector<double> dx(d.size), dresidual(d.size), dgamma(d.channels), dbeta(d.channels);
    ref::batch_norm_backward(d.geom,
                             batch_statistics,
                             u.data(),
                             x.data(),
                             y.data(),
                             gamma.data(),
                             mean.data(),
                             inv_std.data(),
                             dx.data(),
                             Write::kOverwrite,
                             dresidual.data(),
                             Write::kOverwrite,
                             dgamma.data(),
                             dbeta.data(),
                             Write::kOverwrite);
    expect_gradient([&](const auto& in) { return forward(in, gamma, beta, residual); }, x, u, dx);
    expect_gradient([&](const auto& in) { return forward(x, in, beta, residual); }, gamma, u, dgamma);
    expect_gradient([&](const auto& in) { return forward(x, gamma, in, residual); }, beta, u, dbeta);
    expect_gradient([&](const auto& in) { return forward(x, gamma, beta, in); }, residual, u, dresidual);
  }
}

}  // namespace
}  // namespace offramp::test
