// Batch norm in float: fused forms, values that are hard, shards.
#include <cmath>
#include <limits>

#include "kernels/batch_norm.h"
#include "kernels/elementwise.h"
#include "kernels/ref/batch_norm.h"
#include "tests/kernels/batch_norm_cases.h"

namespace offramp::test {
namespace {

using namespace batch_norm_cases;

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

}  // namespace
}  // namespace offramp::test
