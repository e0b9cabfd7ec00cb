#include "kernels/batch_norm.h"

#include <cmath>

#include "kernels/ref/batch_norm.h"
#include "tests/kernels/batch_norm_cases.h"

namespace offramp::test {
namespace {

using namespace batch_norm_cases;

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

}  // namespace
}  // namespace offramp::test
