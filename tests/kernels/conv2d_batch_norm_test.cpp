// A convolution and its batch norm in one call beside the two calls. The output of the convolution has the same
// bits; the statistics are held to those of the values it has, taken in double.
#include "kernels/conv2d_batch_norm.h"

#include <cmath>

#include "kernels/ref/batch_norm.h"
#include "tests/kernels/op_test.h"

namespace offramp::test {
namespace {

template <class B>
class Conv2dBatchNorm : public BackendTest<B> {};
TYPED_TEST_SUITE(Conv2dBatchNorm, Backends, BackendNames);

// On CUDA in bf16: each width of a tensor-core tile, one block of rows, several, and more than a group of 32 of
// them, a rest of one row; the sum in parts; depthwise with each compiled filter and without, one block and
// groups; and what goes the long way.
const Conv2dGeom kCases[] = {{2, 5, 6, 8, 16, 3, 3, 1, 1, 1},     // 60 rows, one block
                             {2, 9, 8, 16, 24, 3, 3, 2, 1, 1},    // 24 channels in a tile of 32
                             {1, 3, 43, 16, 40, 1, 1, 1, 0, 1},   // 129 rows; 40 channels in 64
                             {3, 4, 4, 64, 64, 3, 3, 1, 1, 1},    // the sum in parts
                             {9, 8, 8, 24, 136, 1, 1, 1, 0, 1},   // three tiles of columns
                             {33, 32, 32, 8, 72, 1, 1, 1, 0, 1},  // a tile of 128; 264 blocks of rows, groups
                             {5, 29, 29, 8, 8, 1, 1, 1, 0, 1},    // 33 blocks: the second group has one
                             {2, 7, 6, 16, 16, 3, 3, 1, 1, 16},   // depthwise
                             {3, 9, 8, 264, 264, 3, 3, 2, 1, 264},  // a tile of channels that is nearly empty
                             {1, 8, 8, 8, 8, 2, 3, 1, 0, 8},        // any filter
                             {9, 31, 31, 128, 128, 3, 3, 1, 1, 128},  // groups of blocks
                             {2, 6, 5, 6, 6, 3, 3, 1, 1, 6},          // no multiple of eight
                             {2, 5, 6, 3, 16, 3, 3, 1, 1, 1},         // three channels
                             {2, 5, 6, 8, 16, 3, 3, 1, 1, 2}};        // groups

TYPED_TEST(Conv2dBatchNorm, EqualsTheTwoCalls) {
  using Device = typename TypeParam::Device;
  using T = typename TypeParam::Value;
  for (const Conv2dGeom& g : kCases) {
    const BatchNormGeom norm{
        .rows = std::int64_t{g.n} * g.out_h() * g.out_w(), .channels = g.k, .eps = 1e-3f, .relu = true};
    const auto channels = static_cast<std::size_t>(g.k), size = static_cast<std::size_t>(g.y_size());
    for (const bool extras : {false, true}) {  // a bias that dwarfs the deviation, a residual
      SCOPED_TRACE(::testing::Message() << g.n << " x " << g.h << "x" << g.w << "x" << g.c << " to " << g.k
                                        << ", " << g.r << "x" << g.s << (extras ? ", bias, residual" : ""));
      const Fenced<T, Device> x(random_vector<T>(static_cast<std::size_t>(g.x_size()), 1)),
          residual(random_vector<T>(size, 2));
      const Fenced<float, Device> w(random_vector(static_cast<std::size_t>(g.w_size()), 3)),
          bias(random_vector<float>(channels, 4, 20, 30)), gamma(random_vector<float>(channels, 5, 0.5f, 2)),
          beta(random_vector(channels, 6));
      const auto start_mean = random_vector(channels, 7),
                 start_var = random_vector<float>(channels, 8, 0.5f, 2);
      struct Result {
        Fenced<T, Device> out, y;
        Fenced<float, Device> running_mean, running_var, mean, inv_std;
        Result(std::size_t values, const std::vector<float>& means, const std::vector<float>& variances)
            : out(values),
              y(values),
              running_mean(means),
              running_var(variances),
              mean(means.size()),
              inv_std(means.size()) {}
      };
      const auto call = [&](bool together, Result& r) {
        const BatchNormTrain<T> t{.x = r.out.data(),
                                  .gamma = gamma.data(),
                                  .beta = beta.data(),
                                  .residual = extras ? residual.data() : nullptr,
                                  .momentum = 0.1f,
                                  .running_mean = r.running_mean.data(),
                                  .running_var = r.running_var.data(),
                                  .saved_mean = r.mean.data(),
                                  .saved_inv_std = r.inv_std.data(),
                                  .y = r.y.data()};
        const float* const b = extras ? bias.data() : nullptr;
        if (together) {
          conv2d_batch_norm_train(Device::context(), g, x.data(), w.data(), b, r.out.data(), norm, t);
        } else {
          conv2d_forward(Device::context(), g, x.data(), w.data(), b, r.out.data());
          batch_norm_train(Device::context(), norm, t);
        }
      };
      Result one(size, start_mean, start_var), two(size, start_mean, start_var),
          again(size, start_mean, start_var);
      call(true, one);
      call(false, two);
      call(true, again);
      EXPECT_SAME_BITS(one.out.values(), two.out.values());
      EXPECT_SAME_BITS(again.y.values(), one.y.values()) << "the same call again";

      const std::vector<double> values = to_double(one.out.values());
      std::vector<double> mean(channels), var(channels), inv_std(channels);
      ref::batch_statistics(norm, values.data(), mean.data(), var.data());
      double largest = 0;
      for (const double v : values) largest = std::max(largest, std::fabs(v));
      // A mean of `rows` values; a variance as a mean of squares of deviations, none more than twice the largest
      // value, from a pivot that is one of the values.
      const auto rows = static_cast<double>(norm.rows);
      double spread = 0;
      for (std::size_t i = 0; i < size; ++i)
        spread = std::max(spread, std::fabs(values[i] - values[i % channels]));
      const double mean_bound = sum_bound(rows, largest * rows) / rows,
                   var_bound = sum_bound(rows, 4 * spread * spread * rows) / rows;
      std::vector<double> inv_std_bound(channels), running_mean = to_double(start_mean),
                                                   running_var = to_double(start_var);
      for (std::size_t c = 0; c < channels; ++c) {
        inv_std[c] = 1 / std::sqrt(var[c] + static_cast<double>(norm.eps));
        inv_std_bound[c] = stored_bound<float>(inv_std[c], 0.5 * std::pow(inv_std[c], 3) * var_bound);
      }
      ref::move_running_statistics(
          norm, static_cast<double>(0.1f), mean.data(), var.data(), running_mean.data(), running_var.data());
      EXPECT_CLOSE(one.mean.values(), mean, mean_bound);
      EXPECT_CLOSE(one.inv_std.values(), inv_std, inv_std_bound);
      EXPECT_CLOSE(one.running_mean.values(), running_mean, mean_bound);
      EXPECT_CLOSE(one.running_var.values(), running_var, 2 * var_bound);

      // y from these statistics, as the separate kernel makes it.
      const std::vector<double> r = to_double(residual.values());
      std::vector<double> y(size), y_bound(size);
      const std::vector<double> own_mean = to_double(one.mean.values());
      std::vector<double> own_var(channels);
      const auto own_inv_std = to_double(one.inv_std.values());
      for (std::size_t c = 0; c < channels; ++c)
        own_var[c] = 1 / (own_inv_std[c] * own_inv_std[c]) - static_cast<double>(norm.eps);
      ref::batch_norm_apply(norm,
                            values.data(),
                            to_double(gamma.values()).data(),
                            to_double(beta.values()).data(),
                            own_mean.data(),
                            own_var.data(),
                            extras ? r.data() : nullptr,
                            y.data());
      for (std::size_t i = 0; i < size; ++i) {
        const double scale = 2 * own_inv_std[i % channels];
        y_bound[i] = stored_bound<T>(y[i], sum_bound(8, scale * (2 * largest) + 2));
      }
      EXPECT_CLOSE(one.y.values(), y, y_bound);
    }
  }
}

}  // namespace
}  // namespace offramp::test
