// Gradients of batch norm, and the reference's own.
#include <cmath>

#include "kernels/batch_norm.h"
#include "kernels/ref/batch_norm.h"
#include "tests/kernels/batch_norm_cases.h"

namespace offramp::test {
namespace {

using namespace batch_norm_cases;

template <class B>
class BatchNormGradients : public BackendTest<B> {};
TYPED_TEST_SUITE(BatchNormGradients, Backends, BackendNames);

TYPED_TEST(BatchNormGradients, EveryCombinationOfGradientsMatchesTheReference) {
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

TYPED_TEST(BatchNormGradients, TheRecomputedMaskIsTheMaskOfTheOutput) {
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
